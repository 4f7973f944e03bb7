"""Plain vision transformer (Dosovitskiy et al. 2021) with the sizes and names of DINOv2 (Oquab et al. 2023).

A trunk on its own, no Detectron2 backbone: who needs feature maps, windows or other tokens composes its four steps ``patches``,
``embed``, ``blocks`` and ``norm``.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dense.layers import FeedForward, GatedFeedForward, VisionBlock, resize_position_table

__all__ = ["DINOV2_SIZES", "TransformerSize", "VisionTransformer"]


@dataclass(frozen=True)
class TransformerSize:
    """Sizes of a vision transformer.

    Attributes:
        width: channels C of a token.
        depth: blocks.
        heads: attention heads.
        hidden: channels inside the feed-forward part; ``None`` = 4·width.
        gated: the feed-forward part is gated (SwiGLU) instead of GELU.
        approximate: GELU, ``"none"`` (exact) or ``"tanh"``.
        layer_scale: initial factor of each branch per channel; ``None`` = no factors.
    """

    width: int
    depth: int
    heads: int
    hidden: int | None = None
    gated: bool = False
    approximate: str = "none"
    layer_scale: float | None = 1e-5

    def block(self, drop_rate: float = 0.0) -> VisionBlock:
        """A block of this size."""
        hidden = self.hidden or 4 * self.width
        part: nn.Module = (
            GatedFeedForward(self.width, hidden)
            if self.gated
            else FeedForward(self.width, hidden, approximate=self.approximate)
        )
        return VisionBlock(self.width, self.heads, part, layer_scale=self.layer_scale, drop_rate=drop_rate)


#: DINOv2's sizes under their short names
DINOV2_SIZES = {
    "vits": TransformerSize(384, 12, 6),
    "vitb": TransformerSize(768, 12, 12),
    "vitl": TransformerSize(1024, 24, 16),
    "vitg": TransformerSize(1536, 40, 24, hidden=4096, gated=True),
}


class PatchProjection(nn.Module):
    """Non-overlapping patches → tokens."""

    def __init__(self, patch: int, width: int) -> None:
        super().__init__()
        self.patch = patch
        self.proj = nn.Conv2d(3, width, patch, stride=patch)

    def forward(self, image: Tensor) -> Tensor:
        """``(B, 3, H, W)`` → ``(B, H/patch, W/patch, C)``. Raises: ValueError if a side is no multiple of the patch."""
        if image.shape[-2] % self.patch or image.shape[-1] % self.patch:
            raise ValueError(f"image: {tuple(image.shape[-2:])} pixels, expected multiples of the patch, {self.patch}. Pad it.")
        return self.proj(image).permute(0, 2, 3, 1)  # type: ignore[no-any-return]


class VisionTransformer(nn.Module):
    """Patches, learnt positions, blocks, a final norm.

    Args:
        size: see ``DINOV2_SIZES``.
        patch: side of a patch, pixels.
        grid: side of the table of positions, patches.
        class_token: put a class token, which has a position of its own, in front of the patches.
        registers: further tokens without position behind the class token (Darcet et al. 2024).
        mask_token: keep the token that replaces patches in DINOv2's training; nothing here reads it, its files have it.
        drop_path: rate of the last block; it grows linearly from 0 at the first.
        resize_positions: (table ``(1, grid², C)``, rows, columns) → ``(1, rows·columns, C)``.
        checkpointing: in training, recompute the inside of blocks in the backward pass instead of keeping it.

    Attributes:
        prefix: tokens before the patches.
    """

    def __init__(
        self,
        size: TransformerSize,
        *,
        patch: int,
        grid: int,
        class_token: bool = True,
        registers: int = 0,
        mask_token: bool = False,
        drop_path: float = 0.0,
        resize_positions: Callable[[Tensor, int, int], Tensor] = resize_position_table,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.size, self.patch, self.checkpointing = size, patch, checkpointing
        self.prefix = int(class_token) + registers
        self.resize_positions = resize_positions

        def tokens(count: int) -> nn.Parameter | None:
            return nn.Parameter(torch.zeros(1, count, size.width)) if count else None

        self.cls_token = tokens(int(class_token))
        self.pos_embed = nn.Parameter(torch.empty(1, int(class_token) + grid**2, size.width))
        self.register_tokens = tokens(registers)
        self.mask_token = nn.Parameter(torch.zeros(1, size.width)) if mask_token else None
        self.patch_embed = PatchProjection(patch, size.width)
        rates = torch.linspace(0, drop_path, size.depth, device="cpu").tolist()
        self.blocks = nn.ModuleList(size.block(rate) for rate in rates)
        self.norm = nn.LayerNorm(size.width, eps=1e-6)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Truncated normal (σ 0.02) for positions and linear layers, zero biases, nearly zero tokens."""
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for extra in (self.cls_token, self.register_tokens):
            if extra is not None:
                nn.init.normal_(extra, std=1e-6)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def patches(self, image: Tensor) -> Tensor:
        """``(B, 3, H, W)`` → ``(B, h, w, C)``. Raises: ValueError if a side is no multiple of the patch."""
        return self.patch_embed(image)  # type: ignore[no-any-return]

    def embed(self, patches: Tensor) -> Tensor:
        """``(B, h, w, C)`` → tokens with positions ``(B, prefix + h·w, C)``: class token, registers, patches row by row."""
        batch, height, width = patches.shape[:3]
        own = 0 if self.cls_token is None else 1
        table = self.resize_positions(self.pos_embed[:, own:], height, width)
        parts = [patches.flatten(1, 2) + table]
        if self.register_tokens is not None:
            parts.insert(0, self.register_tokens.expand(batch, -1, -1))
        if self.cls_token is not None:
            parts.insert(0, (self.cls_token + self.pos_embed[:, :1]).expand(batch, -1, -1))
        return torch.cat(parts, dim=1)

    def run(self, tokens: Tensor, first: int = 0, last: int | None = None) -> Tensor:
        """Tokens ``(B, N, C)`` through the blocks ``first`` … ``last − 1``, without the final norm."""
        for block in self.blocks[first:last]:
            tokens = self.through(block, tokens)
        return tokens

    def through(self, block: nn.Module, tokens: Tensor, windows: int = 1) -> Tensor:
        """Tokens ``(B, N, C)`` through one block, recomputed in the backward pass if so set; windows: see ``VisionBlock``."""
        saving = self.checkpointing and block.training and torch.is_grad_enabled()
        if saving:
            return checkpoint(block, tokens, windows, use_reentrant=False)  # type: ignore[no-any-return]
        return block(tokens, windows)  # type: ignore[no-any-return]

    def forward(self, image: Tensor) -> Tensor:
        """``(B, 3, H, W)`` → normalised tokens ``(B, prefix + h·w, C)``; the first ``prefix`` are class token and registers."""
        return self.norm(self.run(self.embed(self.patches(image))))  # type: ignore[no-any-return]
