"""Referring tracker: each frame's objects, told in the order of the frame before (DVIS; DVIS++)."""

from dataclasses import dataclass
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from torch import Tensor, nn

from dense.errors import ConfigError
from dense.layers import MLP, CrossAttentionLayer, LayerSettings, SelfAttentionLayer, caffe2_xavier
from dense.modeling.predictions import FactoredPrediction, MaskPrediction
from dense.projects.dvis.association import match_embeddings
from dense.projects.dvis.registries import NOISERS, TRACKERS
from dense.projects.dvis.shared_keys import temporal_arguments
from dense.projects.dvis.trackers.noisers import Noiser

__all__ = ["ReferringTracker", "Tracked", "TrackerState"]

_EPSILON = 1e-6  # added to norms: a query of zeros is like nothing else


@dataclass(frozen=True)
class TrackerState:
    """What is carried from frame to frame and from window to window; none of it is in the module.

    Attributes:
        last: last layer's output for the frame before, ``(B, Q, C)``; the next frame's reference is made of it.
        matching: normalised embeddings of the frame before in the objects' order, ``(B, Q, C)``.
    """

    last: Tensor
    matching: Tensor


@dataclass(frozen=True)
class Tracked:
    """Objects of T frames of each of B videos; object ``q`` is the same in all frames of a video.

    Attributes:
        predictions: per supervised layer, the last one last; frames are records, video after video: logits
            ``(B·T, Q, K+1)``, masks ``(B·T, Q, 1, h, w)``.
        embeddings: last layer's output, not normalised, ``(B, T, Q, C)``.
        references: what each object was asked for with, ``(B, T, Q, C)``.
        order: for each object the segmenter's query it started from, ``(B, T, Q)`` int64.
    """

    predictions: list[MaskPrediction]
    embeddings: Tensor
    references: Tensor
    order: Tensor

    @property
    def final(self) -> MaskPrediction:
        """The last layer's prediction."""
        return self.predictions[-1]


@dataclass(frozen=True)
class _Frame:
    """A frame of each video through the layers: outputs of all ``(L, B, Q, C)``, reference ``(B, Q, C)``, order ``(B, Q)``."""

    outputs: Tensor
    reference: Tensor
    order: Tensor


@TRACKERS.register
class ReferringTracker(nn.Module):
    """Referring cross-attention, self-attention and feed-forward layers over videos side by side, frame after frame.

    In training there may be noise and every layer is supervised; otherwise there is none and only the last layer predicts.
    """

    @configurable
    def __init__(self, *, width: int, mask_width: int, num_classes: int, layers: LayerSettings, noiser: Noiser) -> None:
        super().__init__()
        self.width, self.noiser = width, noiser
        self.transformer_self_attention_layers = layers.attention(SelfAttentionLayer, width)
        self.transformer_cross_attention_layers = layers.attention(CrossAttentionLayer, width)
        self.transformer_ffn_layers = layers.feed_forward(width)
        self.decoder_norm = nn.LayerNorm(width)
        self.class_embed = nn.Linear(2 * width, num_classes + 1)
        self.mask_embed = MLP(width, width, mask_width, 3)
        self.ref_proj = caffe2_xavier(MLP(width, width, width, 3))
        self.mask_feature_proj = nn.Conv2d(mask_width, mask_width, kernel_size=1)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Read MODEL.TRACKER.{DECODER_LAYERS, NOISE_MODE} beside the keys of ``temporal_arguments``."""
        keys = cfg.MODEL.TRACKER
        return {**temporal_arguments(cfg, keys.DECODER_LAYERS), "noiser": NOISERS.get(keys.NOISE_MODE)(cfg)}

    def forward(
        self, embeddings: Tensor, values: Tensor, mask_features: Tensor, state: TrackerState | None = None
    ) -> tuple[Tracked, TrackerState]:
        """Follow the objects through the next frames of B videos.

        Args:
            embeddings: the segmenter's queries after its norm, ``(B, T, Q, C)``; only compared, never attended to.
            values: the same before the norm, ``(B, T, Q, C)``.
            mask_features: ``(B, T, M, h, w)``.
            state: after the frame before; ``None`` begins the videos, whose first frames give the order.

        Returns: the objects, and the state after the last frame.
        Raises:
            ConfigError: the embeddings have another width.
            NonFiniteError: an embedding is NaN or infinite (the reference goes on with arbitrary matches).
        """
        if embeddings.shape[-1] != self.width:
            raise ConfigError(
                f"query embeddings: {embeddings.shape[-1]} channels, the tracker expects {self.width}."
                " MODEL.MASK_FORMER.REID_BRANCH must be True with a decoder that has a re-identification head, else False."
            )
        frames: list[_Frame] = []
        for current, value in zip(embeddings.detach().unbind(1), values.unbind(1), strict=True):
            frame = self._start(value) if state is None else self._follow(current, value, state)
            state = TrackerState(frame.outputs[-1], _ordered(current, frame.order))
            frames.append(frame)
        if state is None:
            raise ValueError("embeddings: no frame, expected at least one.")
        outputs = torch.stack([frame.outputs for frame in frames], dim=2)  # (L, B, T, Q, C)
        references = torch.stack([frame.reference for frame in frames], dim=1)
        supervised = outputs if self.training else outputs[-1:]
        records, features = references.flatten(0, 1), mask_features.flatten(0, 1)
        predictions = [self._predict(layer.flatten(0, 1), records, features) for layer in supervised]
        order = torch.stack([frame.order for frame in frames], dim=1)
        return Tracked(predictions, outputs[-1], references, order), state

    def _start(self, values: Tensor) -> _Frame:
        """First frame: every layer refers to its own input."""
        order = torch.arange(values.shape[1], device=values.device).expand(len(values), -1)
        x, outputs, first = values, [], self.ref_proj(values)
        for i in range(len(self.transformer_ffn_layers)):
            x = self._layer(i, x, self.ref_proj(x) if i else first, values)
            outputs.append(x)
        return _Frame(torch.stack(outputs), first, order)

    def _follow(self, current: Tensor, values: Tensor, state: TrackerState) -> _Frame:
        """Any other frame: all layers refer to the objects of the frame before."""
        reference, outputs = self.ref_proj(state.last), []
        matches = (match_embeddings(*pair, epsilon=_EPSILON) for pair in zip(current, state.matching, strict=True))
        starts = [self.noiser(match, value, active=self.training) for match, value in zip(matches, values, strict=True)]
        order, x = (torch.stack(part) for part in zip(*starts, strict=True))
        for i in range(len(self.transformer_ffn_layers)):
            x = self._layer(i, x, reference, values)
            outputs.append(x)
        return _Frame(torch.stack(outputs), reference, order)

    def _layer(self, i: int, x: Tensor, reference: Tensor, values: Tensor) -> Tensor:
        """Layer ``i`` on ``(B, Q, C)``; the residual goes past the attention, not the reference."""
        x = self.transformer_cross_attention_layers[i](x, values, query=reference)
        return self.transformer_ffn_layers[i](self.transformer_self_attention_layers[i](x))  # type: ignore[no-any-return]

    def _predict(self, x: Tensor, references: Tensor, mask_features: Tensor) -> MaskPrediction:
        normed = self.decoder_norm(x)  # (B·T, Q, C)
        embedded, projection = self.mask_embed(normed), self.mask_feature_proj
        logits = self.class_embed(torch.cat((references, normed), dim=-1))
        # e · (W f + b) = (Wᵀ e) · f + e · b: a few queries are projected in place of a map of features
        prediction = FactoredPrediction(
            logits, embedded @ projection.weight[:, :, 0, 0], embedded @ projection.bias, mask_features
        )
        return prediction if self.training else MaskPrediction(logits, prediction.masks)


def _ordered(queries: Tensor, order: Tensor) -> Tensor:
    """``(B, Q, C)`` in another order ``(B, Q)``."""
    return queries.gather(1, order[..., None].expand_as(queries))
