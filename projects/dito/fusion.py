"""Scores at inference: fusion of the detector with the frozen backbone, detections per class (F-VLM, DITO)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dense.projects.dito.boxes import pairwise_iou

__all__ = ["DetectionRules", "Detections", "ScoreFusion", "select_detections"]


@dataclass(frozen=True)
class ScoreFusion:
    """Weighted geometric mean of two probabilities, and the objectness.

    Attributes:
        base: exponent of the frozen backbone's probability for base classes; the detector's has the rest to 1.
        novel: likewise for novel classes, and for all where nobody says which are base.
        objectness: exponent of the proposal's score.
    """

    base: float = 0.35
    novel: float = 0.65
    objectness: float = 3.0

    def fuse(self, detector: Tensor, frozen: Tensor, is_base: Tensor | None = None) -> Tensor:
        """Fuse, with the detector's background, and normalise anew.

        Args:
            detector: ``(K, C + 1)`` probabilities, background first.
            frozen: likewise.
            is_base: ``(C,)`` bool; ``None`` = all novel.

        Returns: ``(K, C + 1)``, each row with sum 1 (or 0 where everything is 0).
        """
        exponent = detector.new_full((detector.shape[1],), self.novel)
        exponent[0] = 0.0
        if is_base is not None:
            exponent[1:] = torch.where(is_base.to(detector.device), self.base, self.novel)
        fused = detector ** (1 - exponent) * frozen**exponent
        return fused / fused.sum(dim=1, keepdim=True).clamp(min=torch.finfo(fused.dtype).tiny)

    def final(self, fused: Tensor, objectness: Tensor) -> Tensor:
        """``(K, C + 1)`` times ``(K,)`` objectness to its power."""
        return fused * (objectness**self.objectness)[:, None]


@dataclass(frozen=True)
class DetectionRules:
    """What becomes a detection.

    Attributes:
        overlap: of two boxes of a class that overlap by this or more the worse goes.
        score: scores must be above.
        per_class: candidates of each class.
        most: detections per image.
    """

    overlap: float = 0.5
    score: float = 0.0
    per_class: int = 1000
    most: int = 300


@dataclass(frozen=True)
class Detections:
    """Detections of one image, best first.

    ``boxes`` ``(N, 4)`` in pixels of the canvas, ``scores`` ``(N,)``, ``classes`` ``(N,)`` int64 from 0 (the vocabulary's row
    less 1).
    """

    boxes: Tensor
    scores: Tensor
    classes: Tensor


def select_detections(boxes: Tensor, scores: Tensor, rules: DetectionRules) -> Detections:
    """Suppress within each class, keep the best of all.

    All classes share their boxes, so overlaps are computed once; and candidates of all classes are taken best first until there
    are enough. The result is that of suppressing class by class.

    Args:
        boxes: ``(K, 4)``.
        scores: ``(K, C)`` without background.
        rules: see there.
    """
    count = scores.shape[1]
    if len(boxes) > rules.per_class and count:
        least = scores.topk(rules.per_class, dim=0).values[-1]
        scores = torch.where(scores >= least, scores, -torch.inf)
    flat = scores.flatten()
    close = (pairwise_iou(boxes, boxes) >= rules.overlap).cpu().numpy()
    valid, length = int((flat > rules.score).sum()), 16 * rules.most
    while True:
        length = min(length, valid)
        order = flat.topk(length).indices
        kept = _greedy(order.cpu().numpy(), count, close, rules.most)
        if len(kept) == rules.most or length == valid:
            break
        length *= 4
    chosen = order[torch.from_numpy(kept).to(order.device)]
    box = chosen // count if count else chosen
    return Detections(boxes[box], flat[chosen], chosen - box * count)


def _greedy(order: np.ndarray, count: int, close: np.ndarray, most: int) -> np.ndarray:
    """Places in ``order`` (indices of (box, class) pairs, best first) that no better one of their class suppresses."""
    suppressed: dict[int, np.ndarray] = {}
    kept: list[int] = []
    for place, index in enumerate(order.tolist()):
        box, label = divmod(index, count)
        before = suppressed.get(label)
        if before is not None and before[box]:
            continue
        kept.append(place)
        if len(kept) == most:
            break
        suppressed[label] = close[box] if before is None else before | close[box]
    return np.asarray(kept, dtype=np.int64)
