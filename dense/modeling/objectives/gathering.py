"""Rows of all processes: gathering with gradient, and means over the whole batch.

Every process computes the rows of its own samples against the columns of all. Its loss is ``W`` times its share of the global
mean, so that averaging the gradients of W processes (as DistributedDataParallel does) gives exactly those of one process
with the whole batch, also where processes hold unequal numbers of samples.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["gather_rows", "global_mean", "global_sum", "row_counts", "world_size"]


def world_size() -> int:
    """Number of processes that train together; 1 without torch.distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def row_counts(rows: int, device: torch.device) -> list[int]:
    """How many rows each process holds, in the order of their ranks."""
    if world_size() == 1:
        return [rows]
    own = torch.tensor([rows], device=device)
    counts = [torch.empty_like(own) for _ in range(world_size())]
    dist.all_gather(counts, own)
    return [int(count) for count in counts]


def gather_rows(rows: Tensor, counts: Sequence[int]) -> Tensor:
    """Rows of all processes, in the order of their ranks.

    Args:
        rows: ``(B, ...)``; gradients come back as the sum of what every process sends.
        counts: from ``row_counts``.

    Returns: ``(ΣB, ...)``.
    """
    if world_size() == 1:
        return rows
    gathered: Tensor = _GatherRows.apply(rows, tuple(counts))
    return gathered


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: tuple[int, ...]) -> Tensor:  # noqa: ANN401  torch's own context
        ctx.first, ctx.rows = sum(counts[: dist.get_rank()]), len(rows)
        padded = rows.new_zeros(max(counts), *rows.shape[1:])  # equal sizes: what every backend can gather
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        total = grads[0].contiguous().clone()
        dist.all_reduce(total)  # gloo has no reduce-scatter
        return total[ctx.first : ctx.first + ctx.rows], None


def global_sum(value: Tensor) -> Tensor:
    """Sum over processes, without gradient."""
    total = value.detach().clone()
    if world_size() > 1:
        dist.all_reduce(total)
    return total


def global_mean(rows: Tensor, weights: Tensor) -> Tensor:
    """This process's part of the weighted mean over all processes: the mean of the parts is Σ w·ℓ / Σ w.

    Args:
        rows: ``(R,)`` losses; those of weight 0 may be anything.
        weights: ``(R,)``, 0 or more. If all are 0 the result is 0, attached to the graph.
    """
    total = global_sum(weights.sum())
    weighted = torch.where(weights > 0, rows, torch.zeros_like(rows)) * weights
    return world_size() * weighted.sum() / total.clamp(min=torch.finfo(total.dtype).tiny)
