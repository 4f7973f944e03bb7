"""Mean IoU, VC8 and VC16 of one video of VSPW's size, beside the formulas as loops over classes and windows."""

import math

import numpy as np
from numpy.typing import NDArray

from benchmarks.case import Case
from dense.data.formats.label_videos import class_labels
from dense.evaluation.semantic import ConfusionMatrix
from dense.evaluation.video_semantic import VideoConsistency

__all__ = ["cases", "consistency_by_loops", "mean_iou_by_loops"]

_FRAMES, _HEIGHT, _WIDTH, _CLASSES = 24, 480, 853, 124
Labels = NDArray[np.integer]  # (T, H, W)


def cases() -> list[Case]:
    """One case: T frames of 480 x 853."""
    rng = np.random.default_rng(0)
    blocks = np.repeat(np.repeat(rng.integers(0, _CLASSES, (6, 11)), 80, 0), 80, 1)
    predicted = np.stack([np.roll(blocks, t // 3, 1)[:_HEIGHT, :_WIDTH] for t in range(_FRAMES)]).astype(np.int32)
    stored = np.stack([np.roll(blocks, t // 5, 1)[:_HEIGHT, :_WIDTH] for t in range(_FRAMES)]).astype(np.int32) + 1
    stored[:, :10] = 255

    def ours() -> object:
        matrix, consistency = ConfusionMatrix(_CLASSES, -1), VideoConsistency()
        for values, labels in zip(stored, predicted, strict=True):
            matrix.add(class_labels(values, _CLASSES, "map", ignore_label=-1), labels)
            consistency.add(values, labels)
        figures = matrix.figures([str(k) for k in range(_CLASSES)])
        return [figures["mIoU"] / 100, *(value for values in consistency.windows.values() for value in values)]

    def loops() -> object:
        values = [value for n in (8, 16) for value in consistency_by_loops(stored, predicted, n)]
        return [mean_iou_by_loops(stored, predicted, _CLASSES), *values]

    name = f"mIoU, VC8, VC16 T={_FRAMES} {_HEIGHT}x{_WIDTH} {_CLASSES} classes"
    return [Case(name, ours, {"loops over classes": loops}, _agree, stored.nbytes + predicted.nbytes, 0, faster=4.0)]


def _agree(ours: object, theirs: object) -> None:
    assert len(ours) == len(theirs), f"{len(ours)} and {len(theirs)} figures"
    assert all(math.isclose(a, b, abs_tol=1e-12) for a, b in zip(ours, theirs, strict=True)), "other figures"


def mean_iou_by_loops(stored: Labels, predicted: Labels, num_classes: int) -> float:
    """Class by class, over the classes that are annotated; class k has the value k + 1 on disk."""
    labelled = (stored >= 1) & (stored <= num_classes)
    iou = []
    for k in range(num_classes):
        wanted, found = stored == k + 1, (predicted == k) & labelled
        if wanted.any():
            iou.append(np.count_nonzero(wanted & found) / np.count_nonzero(wanted | found))
    return sum(iou) / len(iou) if iou else math.nan


def consistency_by_loops(stored: Labels, predicted: Labels, n: int) -> list[float]:
    """Window by window: T - n of them, NaN where no annotated pixel is constant."""
    values = []
    for start in range(len(stored) - n):
        constant, kept = (np.all(maps[start : start + n] == maps[start], axis=0) for maps in (stored, predicted))
        total = np.count_nonzero(constant)
        values.append(np.count_nonzero(constant & kept) / total if total else math.nan)
    return values
