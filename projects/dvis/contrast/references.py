"""Contrast of the tracker's references: an object one frame before and after, against all others (DVIS++)."""

import torch
from torch import Tensor

from dense.projects.dvis.contrast.items import ContrastItem, contrastive_losses, other_rows

__all__ = ["reference_items", "reference_losses"]


def reference_losses(references: Tensor, slots: Tensor) -> dict[str, Tensor]:
    """Losses of one clip (see ``contrastive_losses``).

    Args:
        references: the tracker's, ``(T, Q, C)``.
        slots: slot of each matched object, visible or not, ``(N,)`` int64.
    """
    frames, queries = references.shape[:2]
    return contrastive_losses(reference_items(frames, queries, slots), references.flatten(0, 1))


def reference_items(frames: int, queries: int, slots: Tensor) -> list[ContrastItem]:
    """Items of one clip; slot q of frame t has row ``t·Q + q``.

    Args:
        frames: T.
        queries: Q.
        slots: slot of each object, ``(N,)`` int64.

    Returns: for frames 1 to T-1 and each object one item with the frame before and, but for the last, one with the next.
    """
    return [
        ContrastItem(t * queries + q, torch.tensor([other * queries + q]), other_rows(other, queries, q))
        for t in range(1, frames)
        for q in slots.tolist()
        for other in (t - 1, t + 1)
        if other < frames
    ]
