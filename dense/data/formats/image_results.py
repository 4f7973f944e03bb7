"""Result files of image tasks: COCO detections (boxes or masks) and COCO panoptic.

Detections: a JSON list of ``{image_id, category_id, score, bbox or segmentation}``. Panoptic: an object with ``annotations``
as in the ground truth, and a folder of PNG files.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dense.data.formats.category_table import category_id_field
from dense.data.formats.coco import Box, ImageDataset, ImageRecord, read_box
from dense.data.formats.coco_panoptic import PanopticDataset, PanopticSegments, panoptic_annotations
from dense.data.formats.records import integer_field, number
from dense.errors import DataError
from dense.io import read_json, write_json
from dense.structures.results import ImageResult
from dense.structures.rle import RLE, to_rle

__all__ = [
    "Detection",
    "image_result_to_detections",
    "panoptic_result_record",
    "parse_detections",
    "read_detections",
    "read_panoptic_results",
    "write_detections",
]


@dataclass(frozen=True)
class Detection:
    """One predicted object: ids as in the annotation file, ``score`` finite, box and mask as far as the file has them."""

    image_id: int
    category_id: int
    score: float
    box: Box | None
    segmentation: RLE | None


def read_detections(path: str | os.PathLike[str], dataset: ImageDataset) -> list[Detection]:
    """Read a result file and check it against the annotation file it belongs to; the order is kept.

    Raises: DataError, one line with file, record index and what is wrong (unknown image or category, score not finite, mask of
        another size, neither box nor mask).
    """
    return parse_detections(read_json(path), dataset, str(path))


def parse_detections(data: object, dataset: ImageDataset, path: str = "predictions") -> list[Detection]:
    """Check results that are already in memory: ``data`` is what the file would hold, ``path`` its name in messages.

    Raises: DataError as ``read_detections`` does.
    """
    if not isinstance(data, list):
        raise DataError(f"{path}: holds a {type(data).__name__}, expected a list of results (an annotation file was given?).")
    images = {image.id: image for image in dataset.images}
    categories = set(dataset.contiguous_ids)
    return [_detection(entry, f"{path}: results[{index}]", images, categories) for index, entry in enumerate(data)]


def _detection(entry: object, where: str, images: Mapping[int, ImageRecord], categories: set[int]) -> Detection:
    if not isinstance(entry, dict):
        raise DataError(f"{where}: is {type(entry).__name__}, expected an object with image_id, category_id, score, bbox.")
    image_id = integer_field(entry, "image_id", where)
    if image_id not in images:
        raise DataError(
            f"{where}: image_id {image_id} is not an image of the annotation file. Score against the set it was made on."
        )
    where, image = f"{where} (image {image_id})", images[image_id]
    category_id = category_id_field(entry, where, categories)
    if "score" not in entry:
        raise DataError(f"{where}: `score` is missing, expected a number.")
    score = number(entry["score"], f"{where}: score")
    mask = to_rle(entry.get("segmentation"), image.height, image.width, f"{where}: segmentation")
    box = None if entry.get("bbox") in (None, []) else read_box(entry["bbox"], f"{where}: bbox")
    if box is not None and min(box[2:]) < 0:
        raise DataError(f"{where}: bbox is {list(box)}, expected [x, y, width, height] with a size of 0 or more.")
    if mask is None and box is None:
        raise DataError(f"{where}: has neither `bbox` nor `segmentation`, expected at least one.")
    return Detection(image_id, category_id, score, box, mask)


def write_detections(path: str | os.PathLike[str], detections: Iterable[Detection]) -> None:
    """Write a result file atomically, with ``bbox`` and ``segmentation`` as far as they are known."""
    write_json(path, [_plain(detection) for detection in detections])


def _plain(detection: Detection) -> dict[str, Any]:
    plain: dict[str, Any] = {k: getattr(detection, k) for k in ("image_id", "category_id", "score")}
    if detection.box is not None:
        plain["bbox"] = list(detection.box)
    if detection.segmentation is not None:
        plain["segmentation"] = detection.segmentation
    return plain


def image_result_to_detections(result: ImageResult, image_id: int, category_ids: Sequence[int]) -> list[Detection]:
    """Turn what a predictor returns into results, best first.

    Args:
        result: for one image.
        image_id: its id in the annotation file.
        category_ids: the file's id of each contiguous class index.

    Raises: DataError for a label without a category id.
    """
    detections = []
    objects = zip(result.labels, result.scores, result.object_boxes(), result.object_masks(), strict=True)
    for index, (label, score, box, mask) in enumerate(objects):
        category_id = _category_id(label, category_ids, f"image {image_id}: object {index}")
        detections.append(Detection(image_id, category_id, float(score), box, mask))
    return detections


def panoptic_result_record(result: ImageResult, image_id: int, png_name: str, category_ids: Sequence[int]) -> dict[str, Any]:
    """The entry of one image in a panoptic result file.

    Args:
        result: for one image, with its panoptic map.
        image_id: its id in the annotation file.
        png_name: name of the PNG file with ``result.panoptic``.
        category_ids: the file's id of each contiguous class index.

    Raises: DataError for a label without a category id.
    """
    return {
        "image_id": image_id,
        "file_name": png_name,
        "segments_info": [
            {
                "id": segment.id,
                "category_id": _category_id(segment.label, category_ids, f"image {image_id}: segment {segment.id}"),
                "isthing": int(segment.isthing),
                "area": segment.area,
            }
            for segment in result.segments
        ],
    }


def _category_id(label: int, category_ids: Sequence[int], where: str) -> int:
    if not 0 <= label < len(category_ids):
        raise DataError(f"{where}: label {label}, expected 0 to {len(category_ids) - 1} (one per category id).")
    return int(category_ids[label])


def read_panoptic_results(path: str | os.PathLike[str], dataset: PanopticDataset) -> dict[int, PanopticSegments]:
    """Read the ``annotations`` of a panoptic result file, by image id; the PNG files are read when they are scored.

    Raises: DataError naming the file and the record; also if an image of ``dataset`` has no result.
    """
    data = read_json(path)
    if not isinstance(data, dict):
        raise DataError(f"{path}: holds a {type(data).__name__}, expected an object with `annotations`.")
    found = panoptic_annotations(data.get("annotations"), str(path), set(dataset.contiguous_ids))
    results = {record.image_id: record for record in found}
    wanted = {image.id for image in dataset.images}
    for unknown in sorted(set(results) - wanted):
        raise DataError(f"{path}: image_id {unknown} is not an image of {dataset.path}. Score against the set it was made on.")
    for missing in sorted(wanted - set(results)):
        raise DataError(f"{path}: image {missing} of {dataset.path} has no result, expected one per image.")
    return results
