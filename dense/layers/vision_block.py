"""Block of a plain vision transformer: self-attention and feed-forward part, pre-norm (ViT, §3.1), layer scale (CaiT)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dense.layers.drop_path import drop_path

__all__ = ["LayerScale", "PackedSelfAttention", "VisionBlock"]


class PackedSelfAttention(nn.Module):
    """Multi-head self-attention with query, key and value in one linear layer, by torch's fused attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width: {width}, expected a multiple of heads ({heads}).")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """Attend.

        Args:
            x: ``(B, N, C)``.
            mask: bool, broadcast to ``(B, heads, N, N)``, True = may attend.
            causal: tokens attend to themselves and earlier ones only; not together with a mask.

        Returns: ``(B, N, C)``.
        """
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # each (B, M, N, C/M)
        attended = F.scaled_dot_product_attention(query, key, value, mask, is_causal=causal)
        return self.proj(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class LayerScale(nn.Module):
    """A learnt factor per channel on a residual branch (Touvron et al. 2021)."""

    def __init__(self, width: int, initial: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), initial))

    def forward(self, x: Tensor) -> Tensor:
        """``(…, C)`` → ``(…, C)``."""
        return x * self.gamma


class VisionBlock(nn.Module):
    """``x += scale·attention(norm(x))``; ``x += scale·feed_forward(norm(x))``.

    Args:
        width: channels C.
        heads: attention heads, a divisor of ``width``.
        feed_forward: the second part, C → C.
        layer_scale: initial factor of both branches; ``None`` = no factors.
        drop_rate: probability with which an image skips a branch in training.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        feed_forward: nn.Module,
        *,
        layer_scale: float | None = None,
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.drop_rate = drop_rate
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = PackedSelfAttention(width, heads)
        self.ls1 = nn.Identity() if layer_scale is None else LayerScale(width, layer_scale)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = feed_forward
        self.ls2 = nn.Identity() if layer_scale is None else LayerScale(width, layer_scale)

    def forward(self, x: Tensor, windows: int = 1, *, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """Attend and feed forward.

        Args:
            x: ``(B, N, C)``.
            windows: the tokens are so many equal runs, one after the other, each of which attends to itself only.
            mask: see ``PackedSelfAttention``.
            causal: likewise.

        Returns: ``(B, N, C)``.
        """
        runs = self.norm1(x).unflatten(1, (windows, -1)).flatten(0, 1)  # (B·windows, N/windows, C), not copied
        attended = self.attn(runs, mask, causal).view_as(x)
        x = x + drop_path(self.ls1(attended), self.drop_rate, training=self.training)
        return x + drop_path(self.ls2(self.mlp(self.norm2(x))), self.drop_rate, training=self.training)
