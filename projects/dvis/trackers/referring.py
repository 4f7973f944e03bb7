"""Referring tracker: each frame's objects, told in the order of the frame before (DVIS; DVIS++)."""

from dataclasses import dataclass
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from torch import Tensor, nn

from dense.errors import ConfigError
from dense.layers import MLP, CrossAttentionLayer, LayerSettings, SelfAttentionLayer, caffe2_xavier
from dense.modeling.predictions import MaskPrediction
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
        last: last layer's output for the frame before, ``(Q, C)``; the next frame's reference is made of it.
        matching: normalised embeddings of the frame before in the objects' order, ``(Q, C)``.
    """

    last: Tensor
    matching: Tensor


@dataclass(frozen=True)
class Tracked:
    """Objects of T frames; object ``q`` is the same in all of them.

    Attributes:
        predictions: per supervised layer, the last one last; frames are records: logits ``(T, Q, K+1)``, masks
            ``(T, Q, 1, h, w)``.
        embeddings: last layer's output, not normalised, ``(T, Q, C)``.
        references: what each object was asked for with, ``(T, Q, C)``.
        order: for each object the segmenter's query it started from, ``(T, Q)`` int64.
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
    """One frame through the layers: outputs of all layers ``(L, Q, C)``, reference ``(Q, C)``, order ``(Q,)``."""

    outputs: Tensor
    reference: Tensor
    order: Tensor


@TRACKERS.register
class ReferringTracker(nn.Module):
    """Referring cross-attention, self-attention and feed-forward layers over one video, frame after frame.

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
        """Follow the objects through the next frames of one video.

        Args:
            embeddings: the segmenter's queries after its norm, ``(T, Q, C)``; only compared, never attended to.
            values: the same before the norm, ``(T, Q, C)``.
            mask_features: ``(T, M, h, w)``.
            state: after the frame before; ``None`` begins a video, whose first frame gives the order.

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
        for current, value in zip(embeddings.detach(), values, strict=True):
            frame = self._start(value) if state is None else self._follow(current, value, state)
            state = TrackerState(frame.outputs[-1], current[frame.order])
            frames.append(frame)
        if state is None:
            raise ValueError("embeddings: no frame, expected at least one.")
        outputs = torch.stack([frame.outputs for frame in frames], dim=1)  # (L, T, Q, C)
        references = torch.stack([frame.reference for frame in frames])
        projected = self.mask_feature_proj(mask_features)
        supervised = outputs if self.training else outputs[-1:]
        predictions = [self._predict(layer, references, projected) for layer in supervised]
        return Tracked(predictions, outputs[-1], references, torch.stack([frame.order for frame in frames])), state

    def _start(self, values: Tensor) -> _Frame:
        """First frame: every layer refers to its own input."""
        order = torch.arange(len(values), device=values.device)
        x, outputs, first = values, [], self.ref_proj(values)
        for i in range(len(self.transformer_ffn_layers)):
            x = self._layer(i, x, self.ref_proj(x) if i else first, values)
            outputs.append(x)
        return _Frame(torch.stack(outputs), first, order)

    def _follow(self, current: Tensor, values: Tensor, state: TrackerState) -> _Frame:
        """Any other frame: all layers refer to the objects of the frame before."""
        reference, outputs = self.ref_proj(state.last), []
        match = match_embeddings(current, state.matching, epsilon=_EPSILON)
        order, x = self.noiser(match, values, active=self.training)
        for i in range(len(self.transformer_ffn_layers)):
            x = self._layer(i, x, reference, values)
            outputs.append(x)
        return _Frame(torch.stack(outputs), reference, order)

    def _layer(self, i: int, x: Tensor, reference: Tensor, values: Tensor) -> Tensor:
        """Layer ``i`` on ``(Q, C)``; the residual goes past the attention, not the reference."""
        x = self.transformer_cross_attention_layers[i](x, values, query=reference)
        return self.transformer_ffn_layers[i](self.transformer_self_attention_layers[i](x))  # type: ignore[no-any-return]

    def _predict(self, x: Tensor, references: Tensor, mask_features: Tensor) -> MaskPrediction:
        normed = self.decoder_norm(x)  # (T, Q, C)
        masks = torch.einsum("tqc,tchw->tqhw", self.mask_embed(normed), mask_features)
        return MaskPrediction(self.class_embed(torch.cat((references, normed), dim=-1)), masks[:, :, None])
