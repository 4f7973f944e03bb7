"""The losses of finetuning, each with the reference's own normaliser, and the distillation of DITO's second version."""

import torch
import torch.nn.functional as F
from torch import Tensor

from dense.projects.dito.boxes import paired_iou

__all__ = [
    "classification_loss",
    "distillation_loss",
    "mask_loss",
    "objectness_loss",
    "proposal_box_loss",
    "region_box_loss",
]


def objectness_loss(logits: Tensor, targets: Tensor, samples: int) -> Tensor:
    """L1 between the predicted and the true centerness.

    Args:
        logits: ``(N, A)``.
        targets: ``(N, A)``; negative values are left out.
        samples: the sum is divided by N times this, however many targets there are.
    """
    distance = (logits.sigmoid() - targets).abs()
    return distance[targets >= 0].sum() / (len(logits) * samples)


def proposal_box_loss(boxes: Tensor, targets: Tensor, wanted: Tensor, samples: int, weight: float = 8.0) -> Tensor:
    """``weight * (1 - IoU)`` summed over the wanted anchors, divided by ``N * samples``.

    Inverted boxes, which early predictions may be, can have overlaps outside [0, 1]; they are left out.

    Args:
        boxes: ``(N, A, 4)`` decoded and clipped predictions.
        targets: ``(N, A, 4)``.
        wanted: ``(N, A)`` bool.
        samples: see above.
        weight: factor.
    """
    overlap = paired_iou(boxes[wanted], targets[wanted])
    valid = (overlap >= 0) & (overlap <= 1)
    return weight * (1 - overlap[valid]).sum() / (len(boxes) * samples)


def classification_loss(logits: Tensor, classes: Tensor, background: float = 0.9) -> Tensor:
    """Cross-entropy over background (row 0) and classes; ``background`` weighs its regions, the mean is over all regions.

    ``(R, C + 1)`` logits, ``(R,)`` int64 classes; 0 without regions.
    """
    losses = F.cross_entropy(logits, classes, reduction="none")
    weights = torch.where(classes == 0, background, 1.0)
    return (losses * weights).sum() / max(len(classes), 1)


def region_box_loss(deltas: Tensor, targets: Tensor, classes: Tensor) -> Tensor:
    """Huber loss (delta 1) of ``(R, 4)`` deltas, the mean over the coordinates of foreground regions; 0 without any."""
    wanted = classes > 0
    losses = F.huber_loss(deltas[wanted], targets[wanted], reduction="sum", delta=1.0)
    return losses / (4 * wanted.sum()).clamp(min=1)


def mask_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy with soft targets, ``(R, h, w)`` both, the mean over all pixels; 0 without regions."""
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / max(targets.numel(), 1)


def distillation_loss(pooled: Tensor, teacher: Tensor) -> Tensor:
    """``1 - cosine`` of what the trainable and the frozen backbone say of each region; ``(R, D)`` both.

    The mean over regions, 0 without any. Our choice for a term whose formula is not published.
    """
    return (1 - F.cosine_similarity(pooled, teacher.detach(), dim=1)).sum() / max(len(pooled), 1)
