"""Average precision as Pascal VOC's development kit counts it (Everingham et al., IJCV 2010, §4.2), at many IoU thresholds."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dense.data.formats.coco import ImageDataset, ImageObject
from dense.data.formats.image_results import Detection
from dense.errors import DataError

__all__ = ["IOU_THRESHOLDS", "evaluate_voc"]

Floats = NDArray[np.float64]

IOU_THRESHOLDS = tuple(percent / 100 for percent in range(50, 100, 5))
_RECALLS = np.arange(0.0, 1.1, 0.1)  # the kit's own points: 0.3 and others lie a rounding error above


def evaluate_voc(dataset: ImageDataset, detections: Sequence[Detection], eleven_points: bool = True) -> dict[str, Any]:
    """Score boxes.

    A detection belongs to the object of its class that it overlaps most, free or not; the best-scored one above the threshold
    finds it, further ones are wrong, those on difficult objects do not count.

    Args:
        dataset: the annotations.
        detections: with boxes.
        eleven_points: mean of the best precision at recalls 0, 0.1 … 1 (VOC 2007); else the area below the curve (from 2010).

    Returns: percent: ``AP`` (mean over IoU 0.50 to 0.95), ``AP50``, ``AP75`` and ``per_category`` {name: AP50}; classes
        without an object do not count and are NaN.
    Raises: DataError for a detection without a box.
    """
    table = np.full((len(dataset.categories), len(IOU_THRESHOLDS)), np.nan)
    by_class: dict[int, list[Detection]] = {category.id: [] for category in dataset.categories}
    for detection in detections:
        by_class[detection.category_id].append(detection)
    for row, category in enumerate(dataset.categories):
        table[row] = _class_precision(dataset, category.id, by_class[category.id], eleven_points)
    known = ~np.isnan(table).all(axis=1)
    means = 100 * table[known].mean(axis=0) if known.any() else np.full(len(IOU_THRESHOLDS), np.nan)
    return {
        "AP": float(means.mean()),
        "AP50": float(means[0]),
        "AP75": float(means[IOU_THRESHOLDS.index(0.75)]),
        "per_category": {c.name: float(100 * table[row, 0]) for row, c in enumerate(dataset.categories)},
    }


def _class_precision(dataset: ImageDataset, category: int, detections: list[Detection], eleven_points: bool) -> Floats:
    """AP of one class at each threshold ``(T,)``; NaN without objects."""
    truth = {image.id: [item for item in image.objects if item.category_id == category] for image in dataset.images}
    positives = sum(not item.difficult for items in truth.values() for item in items)
    if not positives:
        return np.full(len(IOU_THRESHOLDS), np.nan)
    ordered = sorted(detections, key=lambda detection: -detection.score)
    overlaps, owners, difficult = _nearest_objects(truth, ordered)
    result = np.zeros(len(IOU_THRESHOLDS))
    for place, threshold in enumerate(IOU_THRESHOLDS):
        on_object = overlaps > threshold
        counted = ~(on_object & difficult)
        first = np.zeros(len(ordered), bool)
        first[np.flatnonzero(on_object)[np.unique(owners[on_object], return_index=True)[1]]] = True
        found = np.cumsum((first & counted)[counted])
        precision = found / np.maximum(np.arange(1, len(found) + 1), 1)
        result[place] = (_eleven_points if eleven_points else _area)(found / positives, precision)
    return result


def _nearest_objects(
    truth: dict[int, list[ImageObject]], detections: list[Detection]
) -> tuple[Floats, NDArray[np.int64], NDArray[np.bool_]]:
    """IoU ``(D,)`` of each detection with the object that it overlaps most, that object's id (-1: none), is it difficult."""
    overlaps, difficult = np.zeros(len(detections)), np.zeros(len(detections), bool)
    owners = np.full(len(detections), -1)
    corners = {key: _corners([item.box for item in items]) for key, items in truth.items() if items}
    for d, detection in enumerate(detections):
        if detection.box is None:
            raise DataError(f"image {detection.image_id}: a detection has no box, expected one.")
        if detection.image_id not in corners:
            continue
        ious = _ious(_corners([detection.box])[0], corners[detection.image_id])
        best = int(ious.argmax())
        owner = truth[detection.image_id][best]
        overlaps[d], owners[d], difficult[d] = ious[best], owner.id, owner.difficult
    return overlaps, owners, difficult


def _corners(boxes: Sequence[tuple[float, float, float, float]]) -> Floats:
    array = np.asarray(boxes, np.float64).reshape(-1, 4)
    return np.concatenate([array[:, :2], array[:, :2] + array[:, 2:]], axis=1)


def _ious(box: Floats, others: Floats) -> Floats:
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    common = sides.clip(0).prod(axis=1)
    areas = (others[:, 2:] - others[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    return common / np.maximum(areas - common, np.finfo(np.float64).tiny)


def _eleven_points(recall: Floats, precision: Floats) -> float:
    return float(np.mean([precision[recall >= point].max(initial=0.0) for point in _RECALLS]))


def _area(recall: Floats, precision: Floats) -> float:
    """Below the curve of the best precision at each recall or a higher one."""
    edges = np.concatenate([[0.0], recall])
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(edges) * best).sum())
