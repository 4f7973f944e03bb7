"""Swin Transformer: attention inside windows that shift from block to block (Liu et al. 2021), under the official names."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dense.errors import ConfigError
from dense.layers.drop_path import drop_path
from dense.layers.mlp import FeedForward
from dense.layers.windows import join_windows, relative_position_index, shifted_window_mask, split_windows

__all__ = ["BlockSettings", "SwinBackbone"]

_NAMES = ("res2", "res3", "res4", "res5")


@dataclass(frozen=True)
class BlockSettings:
    """What all blocks of a Swin Transformer share.

    Attributes:
        window: side of a window, tokens.
        mlp_ratio: hidden width of the feed-forward part, in widths of the block.
        qkv_bias: query, key and value have a bias.
        scale: factor on the query; ``None`` = 1/√(width of a head).
        dropout: probability after attention and in the feed-forward part.
        attention_dropout: probability on the attention weights.
        checkpointing: recompute a block's activations in the backward pass instead of keeping them.
    """

    window: int = 7
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    scale: float | None = None
    dropout: float = 0.0
    attention_dropout: float = 0.0
    checkpointing: bool = False


class WindowAttention(nn.Module):
    """Attention among the tokens of one window, with a learnt bias per relative position and head."""

    def __init__(self, width: int, heads: int, settings: BlockSettings) -> None:
        super().__init__()
        self.heads = heads
        self.scale = settings.scale
        self.attention_dropout = settings.attention_dropout
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * settings.window - 1) ** 2, heads))
        self.register_buffer("relative_position_index", relative_position_index(settings.window))
        self.qkv = nn.Linear(width, 3 * width, bias=settings.qkv_bias)
        self.proj = nn.Linear(width, width)
        self.proj_drop = nn.Dropout(settings.dropout)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Attend inside each window.

        Args:
            x: ``(B·n, N, C)``, N tokens per window.
            mask: ``(n, N, N)``, added to the logits; ``None`` = nothing is blocked.

        Returns: ``(B·n, N, C)``.
        """
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # each (B·n, M, N, C/M)
        index: Tensor = self.relative_position_index  # type: ignore[assignment]
        bias = self.relative_position_bias_table[index].permute(2, 0, 1)[None]  # (1, M, N, N)
        if mask is not None:
            bias = (bias + mask[:, None]).repeat(x.shape[0] // mask.shape[0], 1, 1, 1)  # (B·n, M, N, N)
        dropout = self.attention_dropout if self.training else 0.0
        out = F.scaled_dot_product_attention(
            query, key, value, attn_mask=bias.to(query.dtype), dropout_p=dropout, scale=self.scale
        )
        return self.proj_drop(self.proj(out.transpose(1, 2).flatten(2)))  # type: ignore[no-any-return]


class SwinBlock(nn.Module):
    """Window attention and a feed-forward part, each after a LayerNorm and beside a skip connection."""

    def __init__(self, width: int, heads: int, settings: BlockSettings, *, shift: int, drop_path: float) -> None:
        super().__init__()
        self.window, self.shift, self.drop_path = settings.window, shift, drop_path
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads, settings)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = FeedForward(width, int(width * settings.mlp_ratio), dropout=settings.dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``(B, H, W, C)`` → same; ``mask`` ``(n, N, N)`` is that of the padded map and serves only shifted blocks."""
        x = x + drop_path(self._attend(self.norm1(x), mask), self.drop_path, training=self.training)
        return x + drop_path(self.mlp(self.norm2(x)), self.drop_path, training=self.training)

    def _attend(self, x: Tensor, mask: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        x = F.pad(x, (0, 0, 0, -width % self.window, 0, -height % self.window))
        padded_height, padded_width = x.shape[1:3]
        if self.shift:
            x = x.roll((-self.shift, -self.shift), dims=(1, 2))
        windows = self.attn(split_windows(x, self.window), mask if self.shift else None)
        x = join_windows(windows, padded_height, padded_width)
        if self.shift:
            x = x.roll((self.shift, self.shift), dims=(1, 2))
        return x[:, :height, :width]


class PatchMerging(nn.Module):
    """Four neighbouring tokens → one of twice the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)
        self.norm = nn.LayerNorm(4 * width)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, H, W, C)`` → ``(B, ⌈H/2⌉, ⌈W/2⌉, 2C)``."""
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        quarters = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]  # rows vary first: the weights' order
        return self.reduction(self.norm(torch.cat(quarters, dim=-1)))  # type: ignore[no-any-return]


class SwinStage(nn.Module):
    """Blocks in turn unshifted and shifted; between stages a merging step, which the stage's output has not seen."""

    def __init__(self, width: int, heads: int, settings: BlockSettings, drop_paths: Sequence[float], *, merge: bool) -> None:
        super().__init__()
        self.window, self.shift = settings.window, settings.window // 2
        self.checkpointing = settings.checkpointing
        self.blocks = nn.ModuleList(
            SwinBlock(width, heads, settings, shift=self.shift if i % 2 else 0, drop_path=rate)
            for i, rate in enumerate(drop_paths)
        )
        self.downsample = PatchMerging(width) if merge else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, H, W, C)`` → the stage's output ``(B, H, W, C)`` and what the next stage reads."""
        padded = [side + -side % self.window for side in x.shape[1:3]]
        mask = shifted_window_mask(padded[0], padded[1], self.window, self.shift, x)
        for block in self.blocks:
            x = checkpoint(block, x, mask, use_reentrant=False) if self.checkpointing and self.training else block(x, mask)
        return x, x if self.downsample is None else self.downsample(x)


class PatchEmbedding(nn.Module):
    """Non-overlapping patches → tokens."""

    def __init__(self, patch: int, width: int, *, norm: bool) -> None:
        super().__init__()
        self.patch = patch
        self.proj = nn.Conv2d(3, width, patch, stride=patch)
        self.norm = nn.LayerNorm(width) if norm else None

    def forward(self, image: Tensor) -> Tensor:
        """``(B, 3, H, W)`` → ``(B, ⌈H/patch⌉, ⌈W/patch⌉, C)``."""
        image = F.pad(image, (0, -image.shape[-1] % self.patch, 0, -image.shape[-2] % self.patch))
        x = self.proj(image).permute(0, 2, 3, 1)
        return x if self.norm is None else self.norm(x)


@BACKBONE_REGISTRY.register()
class SwinBackbone(Backbone):
    """Feature maps at strides 4, 8, 16, 32 under the names res2 … res5."""

    @configurable
    def __init__(
        self,
        *,
        embed_dim: int,
        depths: Sequence[int],
        heads: Sequence[int],
        settings: BlockSettings,
        out_features: Sequence[str] = _NAMES,
        drop_path: float = 0.0,
        patch: int = 4,
        patch_norm: bool = True,
        position_grid: int | None = None,
        freeze_at: int = 0,
    ) -> None:
        super().__init__()
        _check(embed_dim, depths, heads, out_features, settings.window)
        self.patch_embed = PatchEmbedding(patch, embed_dim, norm=patch_norm)
        self.absolute_pos_embed: nn.Parameter | None = None
        if position_grid is not None:
            self.absolute_pos_embed = nn.Parameter(torch.zeros(1, embed_dim, position_grid, position_grid))
            nn.init.trunc_normal_(self.absolute_pos_embed, std=0.02)
        self.pos_drop = nn.Dropout(settings.dropout)
        rates = torch.linspace(0, drop_path, sum(depths), device="cpu").split(list(depths))
        widths = [embed_dim * 2**i for i in range(len(depths))]
        last = len(depths) - 1
        self.layers = nn.ModuleList(
            SwinStage(width, count, settings, stage.tolist(), merge=i < last)
            for i, (width, count, stage) in enumerate(zip(widths, heads, rates, strict=True))
        )
        self._stages = {name: _NAMES.index(name) for name in out_features}
        for i in self._stages.values():
            self.add_module(f"norm{i}", nn.LayerNorm(widths[i]))
        self._out_features = list(out_features)
        self._out_feature_strides = {name: patch * 2**i for name, i in self._stages.items()}
        self._out_feature_channels = {name: widths[i] for name, i in self._stages.items()}
        self._frozen = self._freeze(freeze_at)
        self.train(self.training)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict[str, Any]:
        """Read MODEL.SWIN.* and MODEL.BACKBONE.FREEZE_AT (official files set 0: nothing is frozen)."""
        keys = cfg.MODEL.SWIN
        return {
            "embed_dim": keys.EMBED_DIM,
            "depths": keys.DEPTHS,
            "heads": keys.NUM_HEADS,
            "settings": BlockSettings(
                window=keys.WINDOW_SIZE,
                mlp_ratio=keys.MLP_RATIO,
                qkv_bias=keys.QKV_BIAS,
                scale=keys.QK_SCALE,
                dropout=keys.DROP_RATE,
                attention_dropout=keys.ATTN_DROP_RATE,
                checkpointing=keys.USE_CHECKPOINT,
            ),
            "out_features": keys.OUT_FEATURES,
            "drop_path": keys.DROP_PATH_RATE,
            "patch": keys.PATCH_SIZE,
            "patch_norm": keys.PATCH_NORM,
            "position_grid": keys.PRETRAIN_IMG_SIZE // keys.PATCH_SIZE if keys.APE else None,
            "freeze_at": cfg.MODEL.BACKBONE.FREEZE_AT,
        }

    def _freeze(self, stages: int) -> list[nn.Module]:
        """Freeze the first layers, counted as Detectron2 counts: 1 = patch embedding and position map, 2 = through res2, ….

        The step to the next stage belongs to its stage, as in Swin's own detectors; the outputs' norms stay trainable.

        Returns: the modules frozen.
        """
        if stages <= 0:
            return []
        frozen: list[nn.Module] = [self.patch_embed, self.pos_drop, *list(self.layers)[: stages - 1]]
        for module in frozen:
            module.requires_grad_(False)
        if self.absolute_pos_embed is not None:
            self.absolute_pos_embed.requires_grad_(False)
        return frozen

    def train(self, mode: bool = True) -> "SwinBackbone":
        """Switch the mode; frozen layers stay in evaluation mode (no dropout, no stochastic depth)."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """``(B, 3, H, W)`` → ``name → (B, C, ⌈H/stride⌉, ⌈W/stride⌉)``; sides need not be multiples of anything."""
        x = self.patch_embed(image)  # (B, h, w, C)
        if self.absolute_pos_embed is not None:
            position = F.interpolate(self.absolute_pos_embed, size=x.shape[1:3], mode="bicubic", align_corners=False)
            x = x + position.permute(0, 2, 3, 1)
        x = self.pos_drop(x)
        names = {i: name for name, i in self._stages.items()}
        found = {}
        for i, stage in enumerate(self.layers):
            out, x = stage(x)
            if i in names:
                found[names[i]] = self.get_submodule(f"norm{i}")(out).permute(0, 3, 1, 2).contiguous()
        return {name: found[name] for name in self._out_features}


def _check(embed_dim: int, depths: Sequence[int], heads: Sequence[int], out_features: Sequence[str], window: int) -> None:
    if not 1 <= len(depths) == len(heads) <= len(_NAMES) or min(depths) < 1 or window < 2:
        raise ConfigError(
            f"MODEL.SWIN: DEPTHS {list(depths)}, NUM_HEADS {list(heads)}, WINDOW_SIZE {window}; expected as many heads as"
            f" depths, at most {len(_NAMES)}, at least one block per stage, and a window of at least 2."
        )
    for i, count in enumerate(heads):
        if count < 1 or embed_dim * 2**i % count:
            raise ConfigError(
                f"MODEL.SWIN.NUM_HEADS[{i}] is {count}, expected a divisor of the stage's {embed_dim * 2**i} channels."
            )
    unknown = [name for name in out_features if name not in _NAMES[: len(depths)]]
    if unknown or not out_features:
        raise ConfigError(f"MODEL.SWIN.OUT_FEATURES: {unknown or 'empty'}, expected some of {list(_NAMES[: len(depths)])}.")
