"""Attention blocks with residual and LayerNorm, after (post-norm) or before (pre-norm) the attention (Mask2Former, §3.2.1)."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["CrossAttentionLayer", "FeedForwardLayer", "LayerSettings", "SelfAttentionLayer"]


def _xavier(module: nn.Module) -> None:
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)


def _plus(x: Tensor, position: Tensor | None) -> Tensor:
    return x if position is None else x + position


class SelfAttentionLayer(nn.Module):
    """Queries attend to each other; the position goes to query and key, not to the value."""

    def __init__(self, width: int, heads: int, *, dropout: float = 0.0, pre_norm: bool = False) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.pre_norm = pre_norm
        _xavier(self)

    def forward(self, x: Tensor, position: Tensor | None = None) -> Tensor:
        """Attend among ``x``.

        Args:
            x: ``(B, Q, C)``.
            position: added to query and key, broadcastable to ``(B, Q, C)``.

        Returns: ``(B, Q, C)``.
        """
        source = self.norm(x) if self.pre_norm else x
        query = _plus(source, position)
        out = x + self.dropout(self.self_attn(query, query, source, need_weights=False)[0])
        return out if self.pre_norm else self.norm(out)


class CrossAttentionLayer(nn.Module):
    """Queries attend to a memory; optionally only where a mask allows."""

    def __init__(self, width: int, heads: int, *, dropout: float = 0.0, pre_norm: bool = False) -> None:
        super().__init__()
        self.multihead_attn = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.pre_norm = pre_norm
        _xavier(self)

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        *,
        query: Tensor | None = None,
        query_position: Tensor | None = None,
        key_position: Tensor | None = None,
        blocked: Tensor | None = None,
    ) -> Tensor:
        """Attend from ``x`` to ``memory``.

        Args:
            x: ``(B, Q, C)``.
            memory: ``(B, S, C)``.
            query: ``(B, Q, C)``, asks in place of ``x``, which then is only the residual (referring attention: DVIS).
            query_position: added to the query, broadcastable to ``(B, Q, C)``.
            key_position: added to the key (not the value), broadcastable to ``(B, S, C)``.
            blocked: ``(B, Q, S)`` bool, True = may not attend; shared by all heads. A row may not block every key.

        Returns: ``(B, Q, C)``.
        """
        source = x if query is None else query
        source = self.norm(source) if self.pre_norm else source
        if blocked is not None:
            blocked = blocked.repeat_interleave(self.multihead_attn.num_heads, dim=0)  # (B·M, Q, S)
        attended = self.multihead_attn(
            _plus(source, query_position), _plus(memory, key_position), memory, attn_mask=blocked, need_weights=False
        )[0]
        out = x + self.dropout(attended)
        return out if self.pre_norm else self.norm(out)


class FeedForwardLayer(nn.Module):
    """Two linear layers with ReLU between, residual and LayerNorm."""

    def __init__(self, width: int, hidden: int, *, dropout: float = 0.0, pre_norm: bool = False) -> None:
        super().__init__()
        self.linear1 = nn.Linear(width, hidden)
        self.dropout = nn.Dropout(dropout)
        self.linear2 = nn.Linear(hidden, width)
        self.norm = nn.LayerNorm(width)
        self.pre_norm = pre_norm
        _xavier(self)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, Q, C)`` → ``(B, Q, C)``."""
        source = self.norm(x) if self.pre_norm else x
        out = x + self.dropout(self.linear2(self.dropout(F.relu(self.linear1(source)))))
        return out if self.pre_norm else self.norm(out)


@dataclass(frozen=True)
class LayerSettings:
    """What all layers of a decoder share.

    Attributes:
        count: number of layers.
        heads: attention heads.
        hidden: width of the feed-forward blocks.
        dropout: probability.
        pre_norm: normalise before each block instead of after it.
    """

    count: int
    heads: int
    hidden: int
    dropout: float = 0.0
    pre_norm: bool = False

    def attention(self, kind: type[SelfAttentionLayer] | type[CrossAttentionLayer], width: int) -> nn.ModuleList:
        """One attention block per layer, ``width`` channels wide."""
        blocks = range(self.count)
        return nn.ModuleList(kind(width, self.heads, dropout=self.dropout, pre_norm=self.pre_norm) for _ in blocks)

    def feed_forward(self, width: int) -> nn.ModuleList:
        """One feed-forward block per layer, ``width`` channels wide outside."""
        blocks = range(self.count)
        return nn.ModuleList(FeedForwardLayer(width, self.hidden, dropout=self.dropout, pre_norm=self.pre_norm) for _ in blocks)
