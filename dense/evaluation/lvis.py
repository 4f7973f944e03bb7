"""Average precision on LVIS (Gupta et al., CVPR 2019, §5): federated annotations, rare, common and frequent categories.

A detection counts only where its category was looked for: where the image has an object of it, or verifiably none. Where not
every object of a category is marked, detections that match nothing are ignored. The best 300 detections of an image count.
"""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dense.data.formats.image_results import Detection
from dense.data.formats.lvis import FREQUENCIES, LvisDataset, parse_lvis, read_lvis
from dense.errors import ConfigError
from dense.evaluation.instances import Overlap, instance_tables, load_instance_inputs
from dense.evaluation.video_instances import summarise

__all__ = ["evaluate_lvis"]

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
    truth = _truth(ground_truth_json, overlap)
    dataset, detections = load_instance_inputs(truth.objects, predictions_json, overlap)
    tables = instance_tables(dataset, _best(detections, limit), overlap, (1, 10, limit), federation=truth)
    figures = summarise(tables, dataset)
    figures[f"AR{limit}"] = figures.pop("AR100")
    ranks = {
        f: [rank for identity, rank in dataset.contiguous_ids.items() if truth.frequencies[identity] == f] for f in FREQUENCIES
    }
    for frequency, rows in ranks.items():
        values = tables.precision[:, :, rows, 0, -1]
        known = values[~np.isnan(values)]
        figures[f"AP{frequency}"] = 100 * float(known.mean()) if known.size else float("nan")
    return {
        **{name: value for name, value in figures.items() if name != "per_category"},
        "per_category": figures["per_category"],
    }


def _truth(given: PathLike | Mapping[str, Any] | LvisDataset, overlap: Overlap) -> LvisDataset:
    if isinstance(given, LvisDataset):
        return given
    masks = overlap == "segm"
    return parse_lvis(given, "ground truth", masks=masks) if isinstance(given, Mapping) else read_lvis(given, masks=masks)


def _best(detections: Sequence[Detection], limit: int) -> list[Detection]:
    """The best ``limit`` detections of each image; of equal scores the earlier ones."""
    by_image: dict[int, list[Detection]] = defaultdict(list)
    for detection in detections:
        by_image[detection.image_id].append(detection)
    return [d for found in by_image.values() for d in sorted(found, key=lambda d: -d.score)[:limit]]
