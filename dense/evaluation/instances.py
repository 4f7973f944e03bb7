"""Average precision of boxes and masks in images, as COCO defines it; computed by ``faster_coco_eval``.

All ids are renumbered from 1 before they are handed over: that library (like the one it follows) takes an object whose id is 0
for no object. The figures are read from its tables of precision and recall, so any limit on the number of detections works.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from dense.data.formats.coco import ImageDataset, parse_coco, read_coco
from dense.data.formats.image_results import Detection, parse_detections, read_detections
from dense.data.formats.lvis import LvisDataset
from dense.data.formats.youtube_vis import AnnotationsMissingError
from dense.errors import ConfigError, DataError, DependencyError
from dense.evaluation.video_instances import PrecisionTables, summarise

__all__ = ["evaluate_instances", "instance_tables", "load_instance_inputs"]

PathLike = str | os.PathLike[str]
Overlap = Literal["segm", "bbox"]


def evaluate_instances(
    ground_truth_json: PathLike | Mapping[str, Any] | ImageDataset,
    predictions_json: PathLike | Sequence[Mapping[str, Any]] | Sequence[Detection],
    overlap: Overlap = "segm",
    limits: tuple[int, int, int] = (1, 10, 100),
) -> dict[str, Any]:
    """Score detected objects against annotated ones.

    Args:
        ground_truth_json: path of a COCO instances file, or its content, or an ``ImageDataset``.
        predictions_json: path of a result file, or its content.
        overlap: IoU of masks (``"segm"``) or of boxes (``"bbox"``).
        limits: numbers of best detections per image and category, ascending; the first two are for recalls only.

    Returns: percent: ``AP`` (mean over IoU 0.50 to 0.95), ``AP50``, ``AP75``, ``APs`` ``APm`` ``APl`` by area (small is below
    32² pixels, large above 96²), ``AR1`` ``AR10`` ``AR100`` (named after ``limits``), ``ARs`` ``ARm`` ``ARl``, and
    ``per_category`` {name: AP}. A figure without any object to find is NaN.
    Raises: DataError if either input is wrong; AnnotationsMissingError (a DataError) without annotations; ConfigError for an
        unknown overlap or limits that are not ascending.
    """
    if overlap not in ("segm", "bbox"):
        raise ConfigError(f"overlap: {overlap!r}, expected 'segm' or 'bbox'.")
    if len(limits) != 3 or sorted(set(limits)) != list(limits) or limits[0] < 1:
        raise ConfigError(f"limits: {limits}, expected three ascending numbers from 1.")
    dataset, detections = load_instance_inputs(ground_truth_json, predictions_json, overlap)
    figures = summarise(instance_tables(dataset, detections, overlap, limits), dataset)
    renamed = dict(zip(("AR1", "AR10", "AR100"), (f"AR{limit}" for limit in limits), strict=True))
    return {renamed.get(name, name): value for name, value in figures.items()}


def load_instance_inputs(
    ground_truth: PathLike | Mapping[str, Any] | ImageDataset,
    predictions: PathLike | Sequence[Mapping[str, Any]] | Sequence[Detection],
    overlap: Overlap,
) -> tuple[ImageDataset, list[Detection]]:
    """Read and check both inputs of ``evaluate_instances``; the errors are those described there."""
    masks = overlap == "segm"
    if isinstance(ground_truth, ImageDataset):
        dataset = ground_truth
    elif isinstance(ground_truth, Mapping):
        dataset = parse_coco(ground_truth, "ground truth", masks=masks)
    else:
        dataset = read_coco(ground_truth, masks=masks)
    if isinstance(predictions, str | os.PathLike):
        detections = read_detections(predictions, dataset)
    else:
        plain = [_plain(p) if isinstance(p, Detection) else p for p in predictions]
        detections = parse_detections(plain, dataset)
    if not dataset.has_annotations:
        raise AnnotationsMissingError(f"{dataset.path}: has no annotations, so there is nothing to score against.")
    field = "segmentation" if masks else "box"
    for index, detection in enumerate(detections):
        if getattr(detection, field) is None:
            name = "segmentation" if masks else "bbox"
            raise DataError(f"predictions: results[{index}] (image {detection.image_id}): `{name}` is missing, expected one.")
    return dataset, detections


def _plain(detection: Detection) -> dict[str, Any]:
    return {("bbox" if name == "box" else name): value for name, value in vars(detection).items()}


def instance_tables(
    dataset: ImageDataset,
    detections: Sequence[Detection],
    overlap: Overlap,
    limits: tuple[int, int, int] = (1, 10, 100),
    federation: LvisDataset | None = None,
) -> PrecisionTables:
    """Precision and recall of each category (contiguous order); NaN where a category has no object in the area range.

    With ``federation`` only what was looked for counts (``dense.evaluation.lvis``).
    Raises: DependencyError without faster-coco-eval.
    """
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ModuleNotFoundError as error:
        raise DependencyError("AP of images needs faster-coco-eval: pip install faster-coco-eval") from error

    logging.getLogger("faster_coco_eval").setLevel(logging.WARNING)
    image_ids = {image.id: number for number, image in enumerate(sorted(dataset.images, key=lambda i: i.id), start=1)}
    class_ids = {category_id: rank + 1 for category_id, rank in dataset.contiguous_ids.items()}
    content = _coco(dataset, image_ids, class_ids, _annotations(dataset, image_ids, class_ids, overlap))
    if federation is not None:
        _add_federation(content, federation, image_ids, class_ids)
    truth = COCO(content)
    results = [_result(d, image_ids[d.image_id], class_ids[d.category_id], overlap) for d in detections]
    shape = (10, 101, len(class_ids), 4, 3)
    if not class_ids or not truth.anns:
        return PrecisionTables(np.full(shape, np.nan), np.full((shape[0], *shape[2:]), np.nan))
    found = truth.loadRes(results) if results else COCO(_coco(dataset, image_ids, class_ids, []))
    evaluation = COCOeval_faster(truth, found, overlap, lvis_style=federation is not None)
    evaluation.params.maxDets = list(limits)
    evaluation.evaluate()
    evaluation.accumulate()
    precision, recall = (np.array(evaluation.eval[name], float) for name in ("precision", "recall"))
    precision, recall = precision.reshape(shape), recall.reshape(shape[0], *shape[2:])
    return PrecisionTables(np.where(precision < 0, np.nan, precision), np.where(recall < 0, np.nan, recall))


def _coco(
    dataset: ImageDataset, image_ids: Mapping[int, int], class_ids: Mapping[int, int], annotations: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "info": {},
        "images": [{"id": image_ids[i.id], "width": i.width, "height": i.height} for i in dataset.images],
        "categories": [{"id": class_ids[c.id], "name": c.name} for c in dataset.categories],
        "annotations": annotations,
    }


def _add_federation(
    content: dict[str, Any], federation: LvisDataset, image_ids: Mapping[int, int], class_ids: Mapping[int, int]
) -> None:
    """Put what LVIS says of images and categories into ``content``, renumbered."""
    images = {record["id"]: record for record in content["images"]}
    for identity, number in image_ids.items():
        images[number]["neg_category_ids"] = [class_ids[k] for k in sorted(federation.negatives[identity])]
        images[number]["not_exhaustive_category_ids"] = [class_ids[k] for k in sorted(federation.not_exhaustive[identity])]
    categories = {record["id"]: record for record in content["categories"]}
    for identity, number in class_ids.items():
        categories[number]["frequency"] = federation.frequencies[identity]


def _annotations(
    dataset: ImageDataset, image_ids: Mapping[int, int], class_ids: Mapping[int, int], overlap: Overlap
) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    for image in dataset.images:
        for item in image.objects:
            if overlap == "segm" and item.segmentation is None:
                continue
            record = {
                "id": len(records) + 1,
                "image_id": image_ids[image.id],
                "category_id": class_ids[item.category_id],
                "iscrowd": int(item.iscrowd),
                "area": item.area,
                "bbox": list(item.box),
            }
            records.append(record | ({"segmentation": item.segmentation} if overlap == "segm" else {}))
    return records


def _result(detection: Detection, image_id: int, category_id: int, overlap: Overlap) -> dict[str, Any]:
    record: dict[str, Any] = {"image_id": image_id, "category_id": category_id, "score": detection.score}
    if overlap == "segm":
        return record | {"segmentation": detection.segmentation}
    return record | {"bbox": list(detection.box or ())}
