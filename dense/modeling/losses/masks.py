"""Binary cross entropy and dice on points, as losses of pairs and as costs of all pairs (MaskFormer, §3; Mask2Former, §4.1)."""

import torch.nn.functional as F
from torch import Tensor

__all__ = ["mask_cost", "mask_loss", "overlap_cost", "overlap_loss"]


def mask_loss(logits: Tensor, targets: Tensor, num_masks: float) -> Tensor:
    """Binary cross entropy, mean over points, sum over masks, divided by ``num_masks``.

    Args:
        logits: ``(G, P)``.
        targets: ``(G, P)`` in [0, 1].
        num_masks: divisor.

    Returns: scalar.
    """
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(1).sum() / num_masks


def overlap_loss(logits: Tensor, targets: Tensor, num_masks: float) -> Tensor:
    """Dice loss with one pixel of smoothing, sum over masks, divided by ``num_masks``; shapes as ``mask_loss``."""
    probability = logits.sigmoid()
    numerator = 2 * (probability * targets).sum(-1) + 1
    return (1 - numerator / (probability.sum(-1) + targets.sum(-1) + 1)).sum() / num_masks


def mask_cost(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean binary cross entropy of every query with every target: ``(Q, P)``, ``(N, P)`` → ``(Q, N)``."""
    positive = F.softplus(-logits)
    negative = F.softplus(logits)
    return (positive @ targets.mT + negative @ (1 - targets).mT) / logits.shape[1]


def overlap_cost(logits: Tensor, targets: Tensor) -> Tensor:
    """Dice loss of every query with every target: ``(Q, P)``, ``(N, P)`` → ``(Q, N)``."""
    probability = logits.sigmoid()
    numerator = 2 * (probability @ targets.mT) + 1
    return 1 - numerator / (probability.sum(-1)[:, None] + targets.sum(-1)[None] + 1)
