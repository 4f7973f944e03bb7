"""Semantic segmentation: mean IoU and its relatives, from label maps."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dense.data.formats.png_ids import read_label_map
from dense.data.formats.semantic_maps import check_labels, label_files
from dense.errors import DataError

__all__ = ["ConfusionMatrix", "class_names", "evaluate_semantic"]


class ConfusionMatrix:
    """Counts of pixels by annotated and predicted class.

    Args:
        num_classes: K.
        ignore_label: annotated value of pixels that do not count. Predicted, it means "no class": always wrong.
    """

    def __init__(self, num_classes: int, ignore_label: int = 255) -> None:
        self.num_classes, self.ignore_label = num_classes, ignore_label
        self.counts = np.zeros((num_classes, num_classes + 1), np.int64)  # (annotated, predicted); last column: no class

    def add(self, annotated: NDArray[np.integer], predicted: NDArray[np.integer]) -> None:
        """Count one image: ``(H, W)`` class indices each. Raises: DataError if the sizes differ."""
        if annotated.shape != predicted.shape:
            raise DataError(f"label maps: annotated {annotated.shape}, predicted {predicted.shape}, expected equal sizes.")
        counted = annotated != self.ignore_label
        columns = self.num_classes + 1
        labels = predicted[counted].astype(np.int64)
        labels = np.where((labels >= 0) & (labels < self.num_classes), labels, self.num_classes)
        pairs = annotated[counted].astype(np.int64) * columns + labels
        self.counts += np.bincount(pairs, minlength=self.counts.size).reshape(self.counts.shape)

    def figures(self, names: Sequence[str]) -> dict[str, Any]:
        """Percent: ``mIoU`` (mean over the classes that are annotated somewhere), ``fwIoU`` (weighted by their pixels),
        ``pixel_accuracy``, ``mean_accuracy``, ``per_category`` {name: IoU} (NaN for classes never annotated)."""
        annotated, correct = self.counts.sum(1), np.diag(self.counts)
        union = annotated + self.counts[:, :-1].sum(0) - correct
        present = annotated > 0
        iou = np.where(present, correct / np.maximum(union, 1), np.nan)
        accuracy = correct / np.maximum(annotated, 1)
        total = int(annotated.sum())
        undefined = float("nan")
        return {
            "mIoU": 100 * float(iou[present].mean()) if total else undefined,
            "fwIoU": 100 * float((iou[present] * annotated[present]).sum() / total) if total else undefined,
            "pixel_accuracy": 100 * float(correct.sum() / total) if total else undefined,
            "mean_accuracy": 100 * float(accuracy[present].mean()) if total else undefined,
            "per_category": {name: 100 * float(value) for name, value in zip(names, iou, strict=True)},
        }


def evaluate_semantic(
    ground_truth_dir: str | os.PathLike[str],
    predictions_dir: str | os.PathLike[str],
    num_classes: int,
    *,
    ignore_label: int = 255,
    category_names: Sequence[str] | None = None,
    label_suffix: str = ".png",
) -> dict[str, Any]:
    """Score predicted label maps.

    Args:
        ground_truth_dir: folder of label maps (PNG of one channel), sub-folders included.
        predictions_dir: folder with a ``.png`` of the same name for each of them.
        num_classes: K; labels are 0 to K-1.
        ignore_label: value of unlabelled pixels.
        category_names: K names; default ``class 0`` and so on.
        label_suffix: end of the annotated maps' names.

    Returns: see ``ConfusionMatrix.figures``.
    Raises: DataError naming the file that is missing, broken, of another size, or has a value that is no class.
    """
    names = class_names(num_classes, category_names)
    matrix = ConfusionMatrix(num_classes, ignore_label)
    for name, path in label_files(ground_truth_dir, label_suffix).items():
        annotated = read_label_map(path)
        check_labels(annotated, num_classes, ignore_label, str(path))
        result = Path(predictions_dir) / f"{name}.png"
        predicted = read_label_map(result, (annotated.shape[0], annotated.shape[1]))
        check_labels(predicted, num_classes, ignore_label, str(result))
        matrix.add(annotated, predicted)
    return matrix.figures(names)


def class_names(num_classes: int, category_names: Sequence[str] | None) -> list[str]:
    """K names, ``class 0`` and so on by default. Raises: DataError if there are not K, or K is below 1."""
    if num_classes < 1:
        raise DataError(f"num_classes: {num_classes}, expected 1 or more.")
    names = [f"class {k}" for k in range(num_classes)] if category_names is None else list(category_names)
    if len(names) != num_classes:
        raise DataError(f"category_names: {len(names)} names, expected {num_classes} (num_classes).")
    return names
