"""Pixel decoder: deformable attention over the coarse levels, then top-down steps to stride 4 (Mask2Former, §3.2.2)."""

import math
from collections.abc import Mapping
from typing import Any

import fvcore.nn.weight_init as weight_init
import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import Conv2d, ShapeSpec, get_norm
from torch import Tensor, nn

from dense.layers import DeformableAttention, cell_centres, sine_position_encoding
from dense.modeling.registries import PIXEL_DECODERS

__all__ = ["DeformablePixelDecoder"]

POINTS = 4  # the reference fixes both in code; no configuration key reaches them
ENCODER_HIDDEN = 1024


class EncoderLayer(nn.Module):
    """Deformable self-attention over all levels, then a feed-forward block; post-norm."""

    def __init__(self, width: int, hidden: int, levels: int, heads: int, *, dropout: float) -> None:
        super().__init__()
        self.self_attn = DeformableAttention(width, levels, heads, POINTS)
        self.dropout = nn.Dropout(dropout)
        self.norm1 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, hidden)
        self.linear2 = nn.Linear(hidden, width)
        self.norm2 = nn.LayerNorm(width)
        for linear in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(linear.weight)

    def forward(self, x: Tensor, position: Tensor, reference_points: Tensor, spatial_shapes: Tensor) -> Tensor:
        """``(B, S, C)`` → ``(B, S, C)``; the position reaches the query only, never the values."""
        attended = self.self_attn(x + position, reference_points, x, spatial_shapes)
        x = self.norm1(x + self.dropout(attended))
        hidden = self.linear2(self.dropout(F.relu(self.linear1(x))))
        return self.norm2(x + self.dropout(hidden))  # type: ignore[no-any-return]


class DeformableEncoder(nn.Module):
    """Joins the levels, adds position and level, runs the layers, splits again."""

    def __init__(self, width: int, hidden: int, levels: int, heads: int, layers: int, *, dropout: float) -> None:
        super().__init__()
        self.level_embed = nn.Parameter(torch.empty(levels, width).normal_())
        self.encoder = nn.Module()
        self.encoder.layers = nn.ModuleList(EncoderLayer(width, hidden, levels, heads, dropout=dropout) for _ in range(layers))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Levels ``(B, C, h, w)``, coarse to fine → the same shapes."""
        sizes = [m.shape[-2:] for m in maps]
        shapes = torch.tensor(sizes, dtype=torch.int64, device=maps[0].device)
        x = torch.cat([m.flatten(2).mT for m in maps], dim=1)  # (B, S, C)
        position = torch.cat(
            [
                sine_position_encoding(h, w, m.shape[1], device=m.device).flatten(1).t() + embed
                for m, (h, w), embed in zip(maps, sizes, self.level_embed, strict=True)
            ]
        )
        reference_points = cell_centres(sizes, len(sizes), x)
        for layer in self.encoder.layers:  # type: ignore[union-attr]
            x = layer(x, position, reference_points, shapes)
        parts = x.split([h * w for h, w in sizes], dim=1)
        return [p.mT.unflatten(2, tuple(size)) for p, size in zip(parts, sizes, strict=True)]


@PIXEL_DECODERS.register
class DeformablePixelDecoder(nn.Module):
    """Backbone features → features at the encoder's strides (coarse first) and mask features at the finest stride."""

    @configurable
    def __init__(
        self,
        *,
        input_shape: Mapping[str, ShapeSpec],
        encoder_features: list[str],
        width: int,
        mask_width: int,
        norm: str,
        heads: int,
        layers: int,
        common_stride: int,
        dropout: float = 0.0,
        hidden: int = ENCODER_HIDDEN,
    ) -> None:
        super().__init__()
        by_stride = sorted(input_shape, key=lambda name: input_shape[name].stride or 0)
        self.encoder_features = [name for name in reversed(by_stride) if name in encoder_features]  # coarse to fine
        finest = input_shape[self.encoder_features[-1]].stride or 1
        steps = int(math.log2(finest) - math.log2(common_stride))
        self.top_down_features = by_stride[:steps]  # fine to coarse
        self.input_proj = nn.ModuleList(
            nn.Sequential(nn.Conv2d(input_shape[name].channels or 0, width, 1), nn.GroupNorm(32, width))
            for name in self.encoder_features
        )
        for projection in self.input_proj:
            nn.init.xavier_uniform_(projection[0].weight)  # type: ignore[index]
            nn.init.zeros_(projection[0].bias)  # type: ignore[index]
        self.transformer = DeformableEncoder(width, hidden, len(self.encoder_features), heads, layers, dropout=dropout)
        for k, name in enumerate(self.top_down_features, start=1):
            self.add_module(f"adapter_{k}", _conv(input_shape[name].channels or 0, width, 1, norm, activation=False))
            self.add_module(f"layer_{k}", _conv(width, width, 3, norm, activation=True))
        self.mask_features = Conv2d(width, mask_width, kernel_size=1)
        weight_init.c2_xavier_fill(self.mask_features)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: Mapping[str, ShapeSpec]) -> dict[str, Any]:
        """Read MODEL.SEM_SEG_HEAD.* and MODEL.MASK_FORMER.{NHEADS, DROPOUT}."""
        head = cfg.MODEL.SEM_SEG_HEAD
        return {
            "input_shape": {name: input_shape[name] for name in head.IN_FEATURES},
            "encoder_features": head.DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES,
            "width": head.CONVS_DIM,
            "mask_width": head.MASK_DIM,
            "norm": head.NORM,
            "heads": cfg.MODEL.MASK_FORMER.NHEADS,
            "layers": head.TRANSFORMER_ENC_LAYERS,
            "common_stride": head.COMMON_STRIDE,
            "dropout": cfg.MODEL.MASK_FORMER.DROPOUT,
        }

    def forward(self, features: Mapping[str, Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Decode.

        Args:
            features: ``name → (B, C, h, w)``.

        Returns: mask features ``(B, mask_width, H/4, W/4)`` and the encoder's levels, coarse to fine, ``(B, width, h, w)``.
        """
        with torch.autocast(next(iter(features.values())).device.type, enabled=False):  # half precision drifts here
            maps = [p(features[n].float()) for p, n in zip(self.input_proj, self.encoder_features, strict=True)]
            levels = self.transformer(maps)
            x = levels[-1]
            for k in range(len(self.top_down_features), 0, -1):
                lateral = self.get_submodule(f"adapter_{k}")(features[self.top_down_features[k - 1]].float())
                x = lateral + F.interpolate(x, size=lateral.shape[-2:], mode="bilinear", align_corners=False)
                x = self.get_submodule(f"layer_{k}")(x)
            return self.mask_features(x), levels


def _conv(inputs: int, outputs: int, kernel: int, norm: str, *, activation: bool) -> Conv2d:
    conv = Conv2d(
        inputs,
        outputs,
        kernel_size=kernel,
        padding=kernel // 2,
        bias=norm == "",
        norm=get_norm(norm, outputs),
        activation=F.relu if activation else None,
    )
    weight_init.c2_xavier_fill(conv)
    return conv
