"""Balanced assignments of samples to prototypes by Sinkhorn's iterations, in logarithms."""

import math

import torch
import torch.distributed as dist
from torch import Tensor

from dense.errors import ConfigError
from dense.modeling.objectives.gathering import world_size

__all__ = ["sinkhorn"]


@torch.no_grad()
def sinkhorn(scores: Tensor, epsilon: float, iterations: int, *, distributed: bool = False) -> Tensor:
    """Spread samples evenly over prototypes, each sample mostly to the prototypes it is like.

    Args:
        scores: ``(N, K)`` similarities; computed in float32 at least.
        epsilon: softness of the assignment, above 0.
        iterations: 0 = the softened scores, divided by their mean row sum.
        distributed: the rows of all processes make one matrix of which these are a part.

    Returns: ``(N, K)``; with one iteration or more each row sums to 1, columns to N / K in the limit. An offset per prototype
        changes nothing then.
    Raises: ConfigError for an epsilon that is not above 0, or negative iterations.

    Source: SwAV (Caron et al. 2020), Sinkhorn-Knopp.
    """
    if not epsilon > 0 or iterations < 0:
        raise ConfigError(f"sinkhorn: epsilon {epsilon}, {iterations} iterations; expected more than 0, and 0 or more.")
    shared = distributed and world_size() > 1
    logits = scores.to(torch.promote_types(scores.dtype, torch.float32)) / epsilon
    samples = _total(logits.new_tensor(float(len(logits))), shared)
    logits = logits - _lse(torch.logsumexp(logits.flatten(), 0)[None], shared)
    for _ in range(iterations):
        logits = logits - (_lse(torch.logsumexp(logits, 0), shared)[None] + math.log(logits.shape[1]))
        logits = logits - (torch.logsumexp(logits, 1, keepdim=True) + samples.log())
    return torch.exp(logits + samples.log())


def _lse(values: Tensor, shared: bool) -> Tensor:
    """Elementwise log-sum-exp over processes."""
    if not shared:
        return values
    peak = values.clone()
    dist.all_reduce(peak, op=dist.ReduceOp.MAX)
    return peak + _total(torch.exp(values - peak), shared).log()


def _total(value: Tensor, shared: bool) -> Tensor:
    if shared:
        dist.all_reduce(value)
    return value
