"""Temporal refiner: an object's states over all frames, related in time, then to other objects and to frames (DVIS)."""

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
        x, outputs = objects, []
        for i in range(len(self.transformer_ffn_layers)):
            x = self._layer(i, x, queries)
            outputs.append(x)
        supervised = outputs if self.training else outputs[-1:]
        normed = [self.decoder_norm(output) for output in supervised]
        return Refined([MaskPrediction(self._classes(y), self._masks(y, mask_features)) for y in normed], normed[-1])

    def _layer(self, i: int, x: Tensor, queries: Tensor) -> Tensor:
        batch, frames, count, _ = x.shape
        z = x.transpose(1, 2).flatten(0, 1)  # (B·Q, T, C)
        z = self.transformer_time_self_attention_layers[i](z)
        z = self.conv_norms[i](self.conv_short_aggregate_layers[i](z.mT).mT + z)
        z = z.unflatten(0, (batch, count)).transpose(1, 2).flatten(0, 1)  # (B·T, Q, C)
        z = self.transformer_obj_self_attention_layers[i](z)
        z = self.transformer_cross_attention_layers[i](z, queries.flatten(0, 1))
        return self.transformer_ffn_layers[i](z).unflatten(0, (batch, frames))  # type: ignore[no-any-return]

    def _classes(self, normed: Tensor) -> Tensor:
        """``(B, T, Q, C)`` → ``(B, Q, K+1)``: one class for the video, from the frames that tell most about it."""
        weight = self.activation_proj(normed).softmax(dim=1)
        return self.class_embed((normed * weight).sum(1))  # type: ignore[no-any-return]

    def _masks(self, normed: Tensor, mask_features: Tensor) -> Tensor:
        """``(B, T, Q, C)``, ``(B, T, M, h, w)`` → ``(B, Q, T, h, w)``."""
        embedded = self.mask_embed(normed)
        if self.training:
            return torch.einsum("btqc,btchw->bqthw", embedded, mask_features)
        parts = [
            torch.einsum("btqc,btchw->bqthw", e, f.to(e.device, e.dtype)).float().cpu()
            for e, f in zip(embedded.split(self.window, 1), mask_features.split(self.window, 1), strict=True)
        ]
        return torch.cat(parts, dim=2)


def _short_term(width: int) -> nn.Sequential:
    """Two convolutions over time; the first and the last frame are repeated at the ends."""
    return nn.Sequential(
        nn.Conv1d(width, width, 5, padding="same", padding_mode="replicate"),
        nn.ReLU(),
        nn.Conv1d(width, width, 3, padding="same", padding_mode="replicate"),
    )
