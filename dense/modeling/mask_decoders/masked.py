"""Masked transformer decoder: each query attends only where its previous mask is (Mask2Former, §3.2.1)."""

from typing import Any

import fvcore.nn.weight_init as weight_init
import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import Conv2d
from torch import Tensor, nn

from dense.layers import (
    MLP,
    CrossAttentionLayer,
    LayerSettings,
    SelfAttentionLayer,
    caffe2_xavier,
    sine_position_encoding,
)
from dense.modeling.predictions import DecoderOutput, MaskPrediction
from dense.modeling.registries import MASK_DECODERS

__all__ = ["MaskedDecoder", "ReidentifyingDecoder"]


@MASK_DECODERS.register
class MaskedDecoder(nn.Module):
    """Learnt queries, refined layer by layer over the levels in turn; one prediction before the first layer and after each."""

    @configurable
    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        width: int,
        queries: int,
        mask_width: int,
        layers: LayerSettings,
        levels: int = 3,
        enforce_input_projection: bool = False,
        reid_embed: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.levels, self.width = levels, width
        self.transformer_cross_attention_layers = layers.attention(CrossAttentionLayer, width)
        self.transformer_self_attention_layers = layers.attention(SelfAttentionLayer, width)
        self.transformer_ffn_layers = layers.feed_forward(width)
        self.decoder_norm = nn.LayerNorm(width)
        self.query_feat = nn.Embedding(queries, width)
        self.query_embed = nn.Embedding(queries, width)
        self.level_embed = nn.Embedding(levels, width)
        project = in_channels != width or enforce_input_projection
        self.input_proj = nn.ModuleList(_projection(in_channels, width) if project else nn.Sequential() for _ in range(levels))
        self.class_embed = nn.Linear(width, num_classes + 1)
        self.mask_embed = MLP(width, width, mask_width, 3)
        self.reid_embed = reid_embed

    @classmethod
    def from_config(cls, cfg: CfgNode, in_channels: int) -> dict[str, Any]:
        """Read MODEL.MASK_FORMER.* and MODEL.SEM_SEG_HEAD.{NUM_CLASSES, MASK_DIM}."""
        keys = cfg.MODEL.MASK_FORMER
        return {
            "in_channels": in_channels,
            "num_classes": cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES,
            "width": keys.HIDDEN_DIM,
            "queries": keys.NUM_OBJECT_QUERIES,
            "mask_width": cfg.MODEL.SEM_SEG_HEAD.MASK_DIM,
            "layers": LayerSettings(
                count=keys.DEC_LAYERS - 1,  # the key counts the prediction of the raw queries too
                heads=keys.NHEADS,
                hidden=keys.DIM_FEEDFORWARD,
                pre_norm=keys.PRE_NORM,
            ),
            "levels": len(cfg.MODEL.SEM_SEG_HEAD.DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES),
            "enforce_input_projection": keys.ENFORCE_INPUT_PROJ,
        }

    def forward(self, levels: list[Tensor], mask_features: Tensor) -> DecoderOutput:
        """Decode.

        Args:
            levels: ``(B, C, h, w)`` per level, coarse to fine.
            mask_features: ``(B, mask_width, H/4, W/4)``.

        Returns: predictions with mask logits at stride 4, and the final query embeddings.
        """
        memory, position, sizes = self._memories(levels)
        batch = mask_features.shape[0]
        x = self.query_feat.weight.expand(batch, -1, -1)  # (B, Q, C)
        query_position = self.query_embed.weight
        predictions = [self._predict(x, mask_features)]
        blocks = (self.transformer_cross_attention_layers, self.transformer_self_attention_layers, self.transformer_ffn_layers)
        for i, (cross, own, feed_forward) in enumerate(zip(*blocks, strict=True)):
            level = i % self.levels
            blocked = _blocked(predictions[-1].masks[:, :, 0], sizes[level])
            x = cross(x, memory[level], query_position=query_position, key_position=position[level], blocked=blocked)
            x = own(x, query_position)
            x = feed_forward(x)
            predictions.append(self._predict(x, mask_features))
        return self._output(predictions, x, mask_features)

    def restored(self, x: Tensor, mask_features: Tensor, predictions: bool = True) -> DecoderOutput:
        """What ``forward`` returned, without the predictions before the final one, or without any.

        Args:
            x: final query states before the norm, ``(B, Q, C)``: the first C channels of ``embeddings_without_norm``.
            mask_features: ``(B, mask_width, H/4, W/4)``.
            predictions: with the final one?
        """
        return self._output([self._predict(x, mask_features)] if predictions else [], x, mask_features)

    def _output(self, predictions: list[MaskPrediction], x: Tensor, mask_features: Tensor) -> DecoderOutput:
        normed = self.decoder_norm(x)
        if self.reid_embed is None:
            return DecoderOutput(predictions, normed, x, mask_features)
        reid = self.reid_embed(normed)  # the same half for both (DVIS++)
        return DecoderOutput(predictions, torch.cat((normed, reid), -1), torch.cat((x, reid), -1), mask_features, reid)

    def _memories(self, levels: list[Tensor]) -> tuple[list[Tensor], list[Tensor], list[torch.Size]]:
        """Per level: keys and values ``(B, h·w, C)`` (the level's embedding reaches both), positions ``(h·w, C)``, sizes."""
        sizes = [level.shape[-2:] for level in levels]
        memory = [
            projection(level).flatten(2).mT + embed
            for projection, level, embed in zip(self.input_proj, levels, self.level_embed.weight, strict=True)
        ]
        position = [
            sine_position_encoding(h, w, self.width, device=m.device, dtype=m.dtype).flatten(1).t()
            for m, (h, w) in zip(memory, sizes, strict=True)
        ]
        return memory, position, sizes

    def _predict(self, x: Tensor, mask_features: Tensor) -> MaskPrediction:
        normed = self.decoder_norm(x)
        masks = torch.einsum("bqc,bchw->bqhw", self.mask_embed(normed), mask_features)
        return MaskPrediction(self.class_embed(normed), masks[:, :, None])


@MASK_DECODERS.register
class ReidentifyingDecoder(MaskedDecoder):
    """A masked decoder with a re-identification head: its embeddings are twice as wide (CTVIS; DVIS++)."""

    @classmethod
    def from_config(cls, cfg: CfgNode, in_channels: int) -> dict[str, Any]:
        """Read MODEL.MASK_FORMER.{REID_HIDDEN_DIM, NUM_REID_HEAD_LAYERS} beside the keys of ``MaskedDecoder``."""
        keys = cfg.MODEL.MASK_FORMER
        return {
            **super().from_config(cfg, in_channels),
            "reid_embed": _reid_head(keys.HIDDEN_DIM, keys.REID_HIDDEN_DIM, keys.NUM_REID_HEAD_LAYERS),
        }


def _reid_head(width: int, hidden: int, layers: int) -> nn.Module:
    return caffe2_xavier(MLP(width, hidden, width, layers)) if layers else nn.Identity()


def _projection(inputs: int, outputs: int) -> Conv2d:
    conv = Conv2d(inputs, outputs, kernel_size=1)
    weight_init.c2_xavier_fill(conv)
    return conv


def _blocked(masks: Tensor, size: torch.Size) -> Tensor:
    """``(B, Q, h·w)`` bool: True where the resized mask logit is below zero; a query that would see nothing sees everything."""
    resized = F.interpolate(masks.detach().float(), size=size, mode="bilinear", align_corners=False)
    blocked = resized.flatten(2).sigmoid() < 0.5
    return blocked & ~blocked.all(dim=-1, keepdim=True)
