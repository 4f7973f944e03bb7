"""Keeping the order of queries from frame to frame by their embeddings; the parts that ``MODEL.ASSOCIATION.NAME`` names."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from detectron2.config import CfgNode, configurable
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from dense.errors import NonFiniteError
from dense.registry import Registry

__all__ = ["ASSOCIATIONS", "Association", "FrameAssociation", "Memory", "MemoryAssociation", "match_embeddings"]

ASSOCIATIONS: Registry = Registry("association")


@dataclass(frozen=True)
class Memory:
    """What is known of each query of the video's order.

    Attributes:
        reference: embeddings ``(Q, C)`` that the next frame's are compared with.
        weight: how much evidence stands behind each, ``(Q,)``.
    """

    reference: Tensor
    weight: Tensor


class Association(Protocol):
    """Brings a frame's queries into the video's order."""

    def __call__(self, embeddings: Tensor, logits: Tensor, memory: Memory | None) -> tuple[Tensor, Memory]:
        """Match one frame.

        Args:
            embeddings: ``(Q, C)`` of this frame.
            logits: ``(Q, K+1)`` of this frame.
            memory: from the frame before; ``None`` for the first, whose own order becomes the video's.

        Returns: ``(Q,)`` int64 order, so that ``embeddings[order]`` stands in the video's order, and the memory after it.
        Raises: NonFiniteError if an embedding is NaN, infinite or zero.
        """


@ASSOCIATIONS.register
class FrameAssociation:
    """Compare with the frame before, nothing else (MinVIS, §3.2)."""

    @configurable
    def __init__(self) -> None:
        pass

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Reads nothing."""
        return {}

    def __call__(self, embeddings: Tensor, logits: Tensor, memory: Memory | None) -> tuple[Tensor, Memory]:
        """See ``Association``."""
        if memory is None:
            order = torch.arange(len(embeddings), device=embeddings.device)
        else:
            order = match_embeddings(embeddings, memory.reference)
        return order, Memory(embeddings[order], torch.ones(len(embeddings), device=embeddings.device))


@ASSOCIATIONS.register
class MemoryAssociation:
    """Compare with a running mean of each query's unit embeddings, weighted by its probability of being an object.

    A query whose object is hidden or away keeps its old reference instead of drifting with the background, so that the object
    finds its number again when it comes back. Not part of MinVIS (which remembers one frame); close in spirit to the
    confidence-weighted memories of later online trackers. ``decay`` is what old evidence keeps per frame, in [0, 1].
    """

    @configurable
    def __init__(self, *, decay: float) -> None:
        self.decay = decay

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Read MODEL.ASSOCIATION.DECAY."""
        return {"decay": cfg.MODEL.ASSOCIATION.DECAY}

    def __call__(self, embeddings: Tensor, logits: Tensor, memory: Memory | None) -> tuple[Tensor, Memory]:
        """See ``Association``."""
        presence = 1 - logits.float().softmax(-1)[:, -1]  # (Q,)
        if memory is None:
            return torch.arange(len(embeddings), device=embeddings.device), Memory(_unit(embeddings), presence)
        order = match_embeddings(embeddings, memory.reference)
        fresh, kept = presence[order], memory.weight * self.decay
        share = (fresh / (fresh + kept + 1e-6))[:, None]
        reference = _unit((1 - share) * memory.reference + share * _unit(embeddings[order]))
        return order, Memory(reference, kept + fresh)


def match_embeddings(current: Tensor, reference: Tensor, *, epsilon: float = 0.0) -> Tensor:
    """For each reference query, the current query that continues it: the assignment of the greatest total cosine similarity.

    Args:
        current: ``(Q, C)`` embeddings of this frame.
        reference: ``(Q, C)`` embeddings in the video's order.
        epsilon: added to the norms; above 0, an embedding of zeros is allowed and is similar to nothing.

    Returns: ``(Q,)`` int64; ``current[result]`` stands in the video's order.
    Raises: NonFiniteError if an embedding is NaN or infinite, or zero without ``epsilon``.
    """
    with torch.autocast(current.device.type, enabled=False):
        cost = 1 - _unit(reference, epsilon) @ _unit(current, epsilon).mT
    if not torch.isfinite(cost).all():
        raise NonFiniteError("query embeddings: not finite (NaN, infinity or a zero vector); frames cannot be matched.")
    _, columns = linear_sum_assignment(cost.detach().cpu().numpy())
    return torch.as_tensor(columns, dtype=torch.int64, device=current.device)


def _unit(x: Tensor, epsilon: float = 0.0) -> Tensor:
    return x.float() / (x.float().norm(dim=-1, keepdim=True) + epsilon)
