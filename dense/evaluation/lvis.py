"""Average precision on LVIS (Gupta et al., CVPR 2019, §5): federated annotations, rare, common and frequent categories.

A detection counts only where its category was looked for: where the image has an object of it, or verifiably none. Where not
every object of a category is marked, detections that match nothing are ignored. The best 300 detections of an image count;
fixed AP counts the best 10,000 of each category instead.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dense.data.formats.image_results import Detection
from dense.data.formats.lvis import FREQUENCIES, LvisDataset, parse_lvis, read_lvis
from dense.errors import ConfigError
from dense.evaluation.instances import Overlap, instance_tables, load_instance_inputs
from dense.evaluation.video_instances import PrecisionTables, mean_precision, summarise

__all__ = ["best_of_images", "evaluate_lvis", "evaluate_lvis_fixed", "load_federation"]

PathLike = str | os.PathLike[str]


def evaluate_lvis(
    ground_truth_json: PathLike | Mapping[str, Any] | LvisDataset,
    predictions_json: PathLike | Sequence[Mapping[str, Any]] | Sequence[Detection],
    overlap: Overlap = "segm",
    limit: int = 300,
) -> dict[str, Any]:
    """Score detected objects against LVIS annotations.

    Args:
        ground_truth_json: path of an LVIS file, or its content, or an ``LvisDataset``.
        predictions_json: path of a result file in COCO's form, or its content.
        overlap: IoU of masks (``"segm"``) or of boxes (``"bbox"``).
        limit: best detections per image, all categories together.

    Returns: percent, as ``evaluate_instances``; further ``APr`` ``APc`` ``APf`` of rare, common and frequent categories. A
        category without objects counts in none; a figure without any category is NaN.
    Raises: DataError if either input is wrong; ConfigError for an unknown overlap or a limit below 1; DependencyError without
        faster-coco-eval.
    """
    if overlap not in ("segm", "bbox"):
        raise ConfigError(f"overlap: {overlap!r}, expected 'segm' or 'bbox'.")
    if limit < 11:
        raise ConfigError(f"limit: {limit}, expected 11 or more detections per image.")
    truth = load_federation(ground_truth_json, overlap)
    dataset, detections = load_instance_inputs(truth.objects, predictions_json, overlap)
    tables = instance_tables(dataset, best_of_images(detections, limit), overlap, (1, 10, limit), federation=truth)
    figures = _figures(tables, truth)
    figures[f"AR{limit}"] = figures.pop("AR100")
    return _categories_last(figures)


def evaluate_lvis_fixed(
    ground_truth_json: PathLike | Mapping[str, Any] | LvisDataset,
    predictions_json: PathLike | Sequence[Mapping[str, Any]] | Sequence[Detection],
    overlap: Overlap = "segm",
    per_category: int = 10_000,
) -> dict[str, Any]:
    """Fixed AP (Dave et al., "Evaluating Large-Vocabulary Object Detectors", 2021): a budget per category, none per image.

    The best ``per_category`` detections of each category over the whole set count, however many an image has, so that
    categories do not compete for places in an image. Results should hold more than the usual 300 detections an image.

    Args:
        ground_truth_json, predictions_json, overlap: as ``evaluate_lvis``.
        per_category: detections of a category that count, over all images.

    Returns: as ``evaluate_lvis``; recalls are those of all that counts (``AR``).
    Raises: as ``evaluate_lvis``.
    """
    if overlap not in ("segm", "bbox"):
        raise ConfigError(f"overlap: {overlap!r}, expected 'segm' or 'bbox'.")
    if per_category < 1:
        raise ConfigError(f"per_category: {per_category}, expected 1 or more detections per category.")
    truth = load_federation(ground_truth_json, overlap)
    dataset, detections = load_instance_inputs(truth.objects, predictions_json, overlap)
    kept = _best(detections, per_category, lambda detection: detection.category_id)
    scenes = Counter((detection.image_id, detection.category_id) for detection in kept)
    figures = _figures(instance_tables(dataset, kept, overlap, (1, 10, max(11, *scenes.values(), 0)), truth), truth)
    figures["AR"] = figures.pop("AR100")
    return _categories_last(figures)


def _figures(tables: PrecisionTables, truth: LvisDataset) -> dict[str, Any]:
    figures = summarise(tables, truth.objects)
    ranks = truth.objects.contiguous_ids
    for frequency in FREQUENCIES:
        rows = [rank for identity, rank in ranks.items() if truth.frequencies[identity] == frequency]
        figures[f"AP{frequency}"] = mean_precision(tables.precision[:, :, rows, 0, -1])
    return figures


def _categories_last(figures: dict[str, Any]) -> dict[str, Any]:
    return {**{k: v for k, v in figures.items() if k != "per_category"}, "per_category": figures["per_category"]}


def load_federation(given: PathLike | Mapping[str, Any] | LvisDataset, overlap: Overlap) -> LvisDataset:
    """Read and check the ground truth of ``evaluate_lvis``; the errors are those described there."""
    if isinstance(given, LvisDataset):
        return given
    masks = overlap == "segm"
    return parse_lvis(given, "ground truth", masks=masks) if isinstance(given, Mapping) else read_lvis(given, masks=masks)


def best_of_images(detections: Sequence[Detection], limit: int) -> list[Detection]:
    """The best ``limit`` detections of each image; of equal scores the earlier ones."""
    return _best(detections, limit, lambda detection: detection.image_id)


def _best(detections: Sequence[Detection], limit: int, key: Callable[[Detection], int]) -> list[Detection]:
    groups: dict[int, list[Detection]] = defaultdict(list)
    for detection in detections:
        groups[key(detection)].append(detection)
    return [d for found in groups.values() for d in sorted(found, key=lambda d: -d.score)[:limit]]
