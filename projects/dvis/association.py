"""Matching queries from frame to frame by their embeddings (MinVIS, §3.2)."""

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from dense.errors import NonFiniteError

__all__ = ["match_embeddings"]


def match_embeddings(current: Tensor, reference: Tensor) -> Tensor:
    """For each reference query, the current query that continues it: the assignment of the greatest total cosine similarity.

    Args:
        current: ``(Q, C)`` embeddings of this frame.
        reference: ``(Q, C)`` embeddings of the frame before, in the video's order.

    Returns: ``(Q,)`` int64; ``current[result]`` stands in the video's order.
    Raises: NonFiniteError if an embedding is NaN, infinite or zero.
    """
    cost = 1 - _unit(reference) @ _unit(current).mT
    if not torch.isfinite(cost).all():
        raise NonFiniteError("query embeddings: not finite (NaN, infinity or a zero vector); frames cannot be matched.")
    _, columns = linear_sum_assignment(cost.detach().cpu().numpy())
    return torch.as_tensor(columns, dtype=torch.int64, device=current.device)


def _unit(x: Tensor) -> Tensor:
    return x.float() / x.float().norm(dim=-1, keepdim=True)
