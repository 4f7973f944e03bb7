"""Temporal refiner: an object's states over all frames, related in time, then to other objects and to frames (DVIS)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from torch import Tensor, nn

from dense.layers import MLP, CrossAttentionLayer, LayerSettings, SelfAttentionLayer
from dense.modeling.predictions import MaskPrediction
from dense.projects.dvis.registries import REFINERS
from dense.projects.dvis.shared_keys import temporal_arguments

__all__ = ["Refined", "TemporalRefiner"]

_WEIGHTS = 1 << 22  # of attention over time, computed at once outside training


@dataclass(frozen=True)
class Refined:
    """Objects of whole videos.

    Attributes:
        predictions: per supervised layer, the last one last; videos are records: logits ``(B, Q, K+1)``, masks
            ``(B, Q, T, h, w)``.
        embeddings: last layer's output after the norm, ``(B, T, Q, C)``.
    """

    predictions: list[MaskPrediction]
    embeddings: Tensor

    @property
    def final(self) -> MaskPrediction:
        """The last layer's prediction."""
        return self.predictions[-1]


@REFINERS.register
class TemporalRefiner(nn.Module):
    """Per layer: long-term attention over frames, short-term convolution, attention between objects and to the frame's queries.

    In training every layer predicts; otherwise only the last, with masks computed a few frames at a time and kept on the CPU.
    """

    @configurable
    def __init__(self, *, width: int, mask_width: int, num_classes: int, layers: LayerSettings, window: int) -> None:
        super().__init__()
        self.window = window
        blocks = range(layers.count)
        self.transformer_time_self_attention_layers = layers.attention(SelfAttentionLayer, width)
        self.conv_short_aggregate_layers = nn.ModuleList(_short_term(width) for _ in blocks)
        self.conv_norms = nn.ModuleList(nn.LayerNorm(width) for _ in blocks)
        self.transformer_obj_self_attention_layers = layers.attention(SelfAttentionLayer, width)
        self.transformer_cross_attention_layers = layers.attention(CrossAttentionLayer, width)
        self.transformer_ffn_layers = layers.feed_forward(width)
        self.decoder_norm = nn.LayerNorm(width)
        self.class_embed = nn.Linear(width, num_classes + 1)
        self.mask_embed = MLP(width, width, mask_width, 3)
        self.activation_proj = nn.Linear(width, 1)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Read MODEL.REFINER.DECODER_LAYERS, MODEL.MASK_FORMER.TEST.WINDOW_SIZE and the keys of ``temporal_arguments``."""
        shared = temporal_arguments(cfg, cfg.MODEL.REFINER.DECODER_LAYERS)
        return {**shared, "window": cfg.MODEL.MASK_FORMER.TEST.WINDOW_SIZE}

    def forward(self, objects: Tensor, queries: Tensor, mask_features: Tensor) -> Refined:
        """Refine the objects of whole videos.

        Args:
            objects: the tracker's embeddings, ``(B, T, Q, C)``.
            queries: the segmenter's embeddings before its norm, in its own order, ``(B, T, Q, C)``.
            mask_features: the segmenter's, ``(B, T, M, h, w)``; outside training they may lie on another device.

        Returns: the objects; outside training with masks in float32 on the CPU.
        """
        normed = self.relate(objects, queries)
        return Refined([MaskPrediction(self.classes(y), self._masks(y, mask_features)) for y in normed], normed[-1])

    def relate(self, objects: Tensor, queries: Tensor) -> list[Tensor]:
        """The objects' states after the norm, ``(B, T, Q, C)``, per supervised layer; arguments as in ``forward``."""
        x, outputs = objects, list[Tensor]()
        for i in range(len(self.transformer_ffn_layers)):
            x = self._layer(i, x, queries)
            outputs = [*outputs, x] if self.training else [x]
        return [self.decoder_norm(output) for output in outputs]

    def _layer(self, i: int, x: Tensor, queries: Tensor) -> Tensor:
        batch, frames, count, _ = x.shape
        z = x.transpose(1, 2).flatten(0, 1)  # (B·Q, T, C)
        z = self._over_time(i, z)
        z = self.conv_norms[i](self.conv_short_aggregate_layers[i](z.mT).mT + z)
        z = z.unflatten(0, (batch, count)).transpose(1, 2).flatten(0, 1)  # (B·T, Q, C)
        z = self.transformer_obj_self_attention_layers[i](z)
        z = self.transformer_cross_attention_layers[i](z, queries.flatten(0, 1))
        return self.transformer_ffn_layers[i](z).unflatten(0, (batch, frames))  # type: ignore[no-any-return]

    def _over_time(self, i: int, z: Tensor) -> Tensor:
        """Attention over frames, ``(B·Q, T, C)``; for a long video some objects at a time: each has heads · T² weights."""
        layer = self.transformer_time_self_attention_layers[i]
        count = _WEIGHTS // (layer.self_attn.num_heads * z.shape[1] ** 2)  # type: ignore[union-attr, operator]
        if self.training or count >= len(z):
            return layer(z)  # type: ignore[no-any-return]
        return torch.cat([layer(part) for part in z.split(max(count, 1))])

    def classes(self, normed: Tensor) -> Tensor:
        """``(B, T, Q, C)`` → ``(B, Q, K+1)``: one class for the video, from the frames that tell most about it."""
        weight = self.activation_proj(normed).softmax(dim=1)
        return self.class_embed((normed * weight).sum(1))  # type: ignore[no-any-return]

    def mask_windows(self, normed: Tensor, features: Iterable[Tensor]) -> Iterator[Tensor]:
        """Masks a few frames at a time, each computed when it is asked for.

        Args:
            normed: states of the objects, ``(B, T, Q, C)``.
            features: mask features of the next frames, ``(B, t, M, h, w)``, T in all, on any device.

        Yields: ``(B, Q, t, h, w)`` in float32 on the CPU.
        """
        embedded, first = self.mask_embed(normed), 0
        for part in features:
            e = embedded[:, first : first + part.shape[1]]
            first += part.shape[1]
            yield torch.einsum("btqc,btchw->bqthw", e, part.to(e.device, e.dtype)).float().cpu()

    def _masks(self, normed: Tensor, mask_features: Tensor) -> Tensor:
        """``(B, T, Q, C)``, ``(B, T, M, h, w)`` → ``(B, Q, T, h, w)``."""
        if self.training:
            return torch.einsum("btqc,btchw->bqthw", self.mask_embed(normed), mask_features)
        return torch.cat(list(self.mask_windows(normed, mask_features.split(self.window, 1))), dim=2)


def _short_term(width: int) -> nn.Sequential:
    """Two convolutions over time; the first and the last frame are repeated at the ends."""
    return nn.Sequential(
        nn.Conv1d(width, width, 5, padding="same", padding_mode="replicate"),
        nn.ReLU(),
        nn.Conv1d(width, width, 3, padding="same", padding_mode="replicate"),
    )
