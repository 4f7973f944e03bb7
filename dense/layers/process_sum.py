"""Sums over the processes of a distributed run, with gradients."""

from typing import Any

import torch
from torch import Tensor

__all__ = ["process_count", "sum_over_processes"]


def process_count() -> int:
    """Number of processes that train together; 1 outside a distributed run."""
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if distributed else 1


def sum_over_processes(x: Tensor) -> Tensor:
    """``x`` summed element by element over all processes, in each of them; all must call this with the same shape.

    The gradient is that of the sum of all processes' losses, which is what ``DistributedDataParallel`` takes the mean of.
    """
    return _Sum.apply(x) if process_count() > 1 else x  # type: ignore[no-any-return, no-untyped-call]


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ANN401  torch's context
        total = x.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]  # noqa: ANN401
        return _Sum.forward(ctx, gradient)
