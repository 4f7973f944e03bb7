"""Average precision of base and of novel categories: what detection of words that were never annotated is judged by.

One model is run with all names at once ("generalised"); AP50 of the novel categories is COCO's usual figure, AP of the rare
ones that of LVIS, which ``evaluate_lvis`` has too.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dense.data.categories import WordSplit
from dense.data.formats.category_parts import federated_part, instance_part
from dense.data.formats.coco import ImageDataset
from dense.data.formats.image_results import Detection
from dense.data.formats.lvis import LvisDataset
from dense.errors import ConfigError, DataError
from dense.evaluation.instances import Overlap, instance_tables, load_instance_inputs
from dense.evaluation.lvis import best_of_images
from dense.evaluation.video_instances import PrecisionTables, mean_precision
from dense.registry import nearest

__all__ = ["evaluate_open_vocabulary"]

PathLike = str | os.PathLike[str]
_AT_50 = 0  # of the IoU thresholds 0.50 to 0.95
_LVIS_LIMIT = 300


def evaluate_open_vocabulary(
    ground_truth: PathLike | Mapping[str, Any] | ImageDataset | LvisDataset,
    predictions: PathLike | Sequence[Mapping[str, Any]] | Sequence[Detection],
    split: WordSplit,
    overlap: Overlap = "bbox",
) -> dict[str, Any]:
    """Score detected objects of base and novel categories.

    Categories of the ground truth that are in neither part (15 of COCO's 80) are left out, and then images without objects of
    the others too, as in the published files.

    Args:
        ground_truth: path of a COCO instances file, its content, or a data set; an ``LvisDataset`` is scored as LVIS is
            (federated, 300 detections an image), others as COCO (100 an image and category).
        predictions: path of a result file, or its content.
        split: names of the base and of the novel categories.
        overlap: IoU of boxes (``"bbox"``) or of masks (``"segm"``).

    Returns: percent: ``AP50_novel``, ``AP50_base``, ``AP50`` (all), ``AP_novel``, ``AP_base``, ``AP``, and ``per_category``
        {name: {"AP50", "AP"}}. A category without objects counts in none; a figure without any category is NaN.
    Raises: DataError if an input is wrong or a name of the split is no category of the ground truth; ConfigError for an unknown
        overlap; DependencyError without faster-coco-eval.
    """
    if overlap not in ("segm", "bbox"):
        raise ConfigError(f"overlap: {overlap!r}, expected 'segm' or 'bbox'.")
    federation = ground_truth if isinstance(ground_truth, LvisDataset) else None
    given = ground_truth.objects if isinstance(ground_truth, LvisDataset) else ground_truth
    whole, found = load_instance_inputs(given, predictions, overlap)
    dataset = _part(whole, split)
    images, ranks = {image.id for image in dataset.images}, dataset.contiguous_ids
    detections = [d for d in found if d.image_id in images and d.category_id in ranks]
    if federation is None:
        tables = instance_tables(dataset, detections, overlap)
    else:
        known = replace(federated_part(federation, ranks), objects=dataset)
        tables = instance_tables(dataset, best_of_images(detections, _LVIS_LIMIT), overlap, (1, 10, _LVIS_LIMIT), known)
    return _figures(tables, dataset.category_names, frozenset(split.novel))


def _figures(tables: PrecisionTables, names: Sequence[str], novel_names: frozenset[str]) -> dict[str, Any]:
    precision = tables.precision[:, :, :, 0, -1]  # (T, R, K)
    novel = np.array([name in novel_names for name in names], bool)
    parts = {"_novel": novel, "_base": ~novel, "": np.ones(len(names), bool)}
    figures: dict[str, Any] = {f"AP50{part}": mean_precision(precision[_AT_50][:, rows]) for part, rows in parts.items()}
    figures |= {f"AP{part}": mean_precision(precision[:, :, rows]) for part, rows in parts.items()}
    figures["per_category"] = {
        name: {"AP50": mean_precision(precision[_AT_50, :, k]), "AP": mean_precision(precision[:, :, k])}
        for k, name in enumerate(names)
    }
    return figures


def _part(whole: ImageDataset, split: WordSplit) -> ImageDataset:
    """The categories of the split; without the others, images without objects go too."""
    ids = {category.name: category.id for category in whole.categories}
    for name in (*split.base, *split.novel):
        if name not in ids:
            raise DataError(
                f"{whole.path}: has no category {name!r} of the split.{nearest(name, list(ids))} Give the split of this file."
            )
    kept = {ids[name] for name in (*split.base, *split.novel)}
    if len(kept) == len(whole.categories):
        return whole
    part = instance_part(whole, kept)
    return replace(part, images=tuple(image for image in part.images if image.objects))
