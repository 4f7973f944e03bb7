"""Stochastic depth: leave a residual branch out for some images of a batch (Huang et al. 2016)."""

import torch
from torch import Tensor

__all__ = ["drop_path"]


def drop_path(x: Tensor, rate: float, *, training: bool) -> Tensor:
    """Zero the branch of each image with probability ``rate``; the others are scaled so that the mean stays.

    Args:
        x: ``(B, …)``, output of a residual branch.
        rate: probability, 0 ≤ rate < 1.
        training: without it nothing is dropped.

    Returns: the shape of ``x``.
    """
    if not training or rate == 0.0:
        return x
    keep = torch.rand(x.shape[0], *(1,) * (x.dim() - 1), device=x.device) >= rate
    return x * keep.to(x.dtype) / (1.0 - rate)
