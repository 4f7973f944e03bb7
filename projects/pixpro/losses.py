"""Pixel losses over positive pairs, without a stored mask: PixPro's consistency and PixContrast (spec, section 7).

Both go over blocks of query positions; what they need at once is one block of the similarity matrix, and gradients are computed
block by block again instead of being kept. Sums are float32 at least.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dense.projects.pixpro.pairs import PairTables
from dense.registry import Registry

__all__ = ["PIXEL_OBJECTIVES", "PixelLoss", "consistency", "pixel_contrast", "unit_rows"]

PixelLoss = Callable[[Tensor, Tensor, PairTables], Tensor]
"""Unit features of the query views and of the key views, ``(N, P, C)`` each, and their pairs → loss of one direction."""

PIXEL_OBJECTIVES: Registry = Registry("pixel objective")

_NO_PAIRS = 1e-6  # added to the number of pairs, as the official code does


def unit_rows(maps: Tensor) -> Tensor:
    """``(N, C, H, W)`` → ``(N, P, C)`` of unit length over the channels, float32 at least; positions row by row."""
    rows = maps.flatten(2).mT
    return F.normalize(rows if rows.dtype == torch.float64 else rows.float(), dim=2, eps=1e-12)


def consistency(query: Tensor, key: Tensor, pairs: PairTables, block: int = 1024) -> Tensor:
    """ℓ(q, k, A) of one direction: minus twice the mean of q·k over the positive pairs of an image, then over the images.

    An image without positive pairs contributes 0 and counts among the images.

    Args:
        query: ``(N, P, C)``, normalised by the caller.
        key: ``(N, P', C)``, likewise.
        pairs: of the two.
        block: query positions that are handled together.

    Returns: scalar.
    """
    with torch.autocast(query.device.type, enabled=False):
        return _Consistency.apply(query, key, pairs, block)


def pixel_contrast(query: Tensor, key: Tensor, pairs: PairTables, temperature: float, block: int = 1024) -> Tensor:
    """One direction of PixContrast: positives against all positions of the other view of the same image.

    Mean over the query positions that have a positive, then over the images; one without any contributes 0.

    Args:
        query: unit features ``(N, P, C)``.
        key: unit features ``(N, P', C)``.
        pairs: of the two.
        temperature: τ.
        block: query positions that are handled together.

    Returns: scalar.
    """
    with torch.autocast(query.device.type, enabled=False):
        return _PixelContrast.apply(query, key, pairs, temperature, block)


@PIXEL_OBJECTIVES.register
def PixelPropagation(*, temperature: float, block: int) -> PixelLoss:
    """PixPro: consistency of propagated features with plain ones."""
    return lambda query, key, pairs: consistency(query, key, pairs, block)


@PIXEL_OBJECTIVES.register
def PixelConsistency(*, temperature: float, block: int) -> PixelLoss:
    """The same without the propagation module; collapses, as the paper says. For comparisons."""
    return PixelPropagation(temperature=temperature, block=block)


@PIXEL_OBJECTIVES.register
def PixelContrast(*, temperature: float, block: int) -> PixelLoss:
    """PixContrast: half of each direction's loss, so that the two directions together are their mean."""
    return lambda query, key, pairs: pixel_contrast(query, key, pairs, temperature, block) / 2


class _Consistency(torch.autograd.Function):
    """The loss is linear in the query, so A·k, computed for the value, is the gradient already."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, pairs: PairTables, block: int) -> Tensor:  # noqa: ANN401
        gathered = torch.empty_like(query)  # A·k, (N, P, C)
        counts = torch.zeros(len(query), dtype=query.dtype, device=query.device)
        for rows, mask in pairs.blocks(block):
            positive = mask.to(key.dtype)
            gathered[:, rows] = positive @ key
            counts += positive.sum((1, 2))
        gathered *= (-2 / len(query) / (counts + _NO_PAIRS))[:, None, None]
        ctx.save_for_backward(query, gathered, counts)
        ctx.pairs, ctx.block = pairs, block
        return (query * gathered).sum()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]  # noqa: ANN401
        query, gathered, counts = ctx.saved_tensors
        towards_key = None
        if ctx.needs_input_grad[1]:
            scale = (-2 / len(query) / (counts + _NO_PAIRS))[:, None, None]
            towards_key = query.new_zeros(len(query), ctx.pairs.positions[1], query.shape[2])
            for rows, mask in ctx.pairs.blocks(ctx.block):
                towards_key += mask.mT.to(query.dtype) @ query[:, rows]
            towards_key *= upstream * scale
        return upstream * gathered, towards_key, None, None


class _PixelContrast(torch.autograd.Function):
    """Keeps two numbers per query position (log of the sums over positives and over all); blocks are made twice."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,  # noqa: ANN401
        query: Tensor,
        key: Tensor,
        pairs: PairTables,
        temperature: float,
        block: int,
    ) -> Tensor:
        everything, positives = (query.new_empty(query.shape[:2]) for _ in range(2))
        for rows, mask in pairs.blocks(block):
            logits = query[:, rows] @ key.mT / temperature
            everything[:, rows] = logits.logsumexp(2)
            positives[:, rows] = logits.masked_fill_(~mask, -torch.inf).logsumexp(2)
        found = positives.isfinite()  # positions with a positive
        weights = found.to(query.dtype) / found.sum(1, keepdim=True).clamp(min=1) / len(query)
        ctx.save_for_backward(query, key, everything, positives, weights)
        ctx.pairs, ctx.temperature, ctx.block = pairs, temperature, block
        return ((everything - positives).masked_fill(~found, 0) * weights).sum()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]  # noqa: ANN401
        query, key, everything, positives, weights = ctx.saved_tensors
        towards_query = torch.empty_like(query)
        towards_key = torch.zeros_like(key) if ctx.needs_input_grad[1] else None
        scale = (upstream / ctx.temperature) * weights
        for rows, mask in ctx.pairs.blocks(ctx.block):
            logits = query[:, rows] @ key.mT / ctx.temperature
            slope = (logits - everything[:, rows, None]).exp_()
            slope -= (logits - positives[:, rows, None]).exp_().masked_fill_(~mask, 0)
            slope *= scale[:, rows, None]
            towards_query[:, rows] = slope @ key
            if towards_key is not None:
                towards_key += slope.mT @ query[:, rows]
        return towards_query, towards_key, None, None, None
