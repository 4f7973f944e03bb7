"""COCO instances: boxes and masks of objects in images, from one JSON file; read, checked, as frozen records.

``images`` (id, width, height, file_name), ``annotations`` (id, image_id, category_id, ``bbox`` [x, y, width, height] in pixels,
``segmentation`` as polygons or RLE of either form, ``area``, ``iscrowd``), ``categories`` (id, name). LVIS files have the same
core. Files of test images have no annotations.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dense.data.formats.category_table import Category, CategoryTable, category_id_field, known_ids, read_categories
from dense.data.formats.faults import RAISE_FIRST, Faults
from dense.data.formats.image_files import ImageEntry, check_image_files, read_image_entries
from dense.data.formats.records import flag_field, integer_field, number, numbered_records, owner_field, unique
from dense.data.formats.youtube_vis import AnnotationsMissingError
from dense.errors import DataError, shown
from dense.io import read_json
from dense.structures import rle as rle_codec
from dense.structures.rle import RLE, to_rle

__all__ = ["Box", "ImageDataset", "ImageObject", "ImageRecord", "parse_coco", "read_box", "read_coco"]

Box = tuple[float, float, float, float]
"""x, y of the upper left corner, width, height; pixels."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageObject:
    """One annotated object.

    Attributes:
        id: annotation id, unique in the file; may be 0.
        category_id: category id as in the file.
        iscrowd: a group of objects: ignored in training, absorbs predictions in evaluation.
        box: as the file states it, or that of the mask where the file has none.
        area: in pixels, as the file states it, or counted from the mask, or of the box.
        segmentation: compressed RLE at the image's size, ``None`` for an object that has only a box.
        difficult: Pascal VOC's mark: learnt from, but neither to be found nor wrong to find.
    """

    id: int
    category_id: int
    iscrowd: bool
    box: Box
    area: float
    segmentation: RLE | None
    difficult: bool = False


@dataclass(frozen=True)
class ImageRecord(ImageEntry):
    """One image with its objects."""

    objects: tuple[ImageObject, ...] = ()


@dataclass(frozen=True)
class ImageDataset(CategoryTable):
    """A whole annotation file.

    Attributes:
        path: the file (or a description, if the data came from memory).
        images: in the file's order, images without any object included.
        categories: sorted by id, so that the position is the contiguous index.
        has_annotations: False if ``annotations`` is missing or ``null``.
        image_root: folder that file names are relative to.
    """

    path: str
    images: tuple[ImageRecord, ...]
    categories: tuple[Category, ...]
    has_annotations: bool
    image_root: Path

    def image_path(self, image: ImageEntry) -> Path:
        """Where the picture of ``image`` lies."""
        return self.image_root / image.file_name


def read_coco(
    path: str | os.PathLike[str],
    image_root: str | os.PathLike[str] | None = None,
    *,
    masks: bool = True,
    check_files: bool = False,
    require_annotations: bool = False,
) -> ImageDataset:
    """Read and check an annotation file.

    Missing ``iscrowd`` is 0; missing ``area`` and ``bbox`` come from the mask. Objects whose box has no area inside the image
    are left out, with one warning that names them (training on them gives NaN).

    Args:
        path: JSON file.
        image_root: folder that file names are relative to (default: the folder of ``path``).
        masks: the task needs masks: objects that have only a box are left out too, with a warning.
        check_files: also make sure that every image is on disk at the stated size.
        require_annotations: without annotations raise instead of returning images without objects.

    Raises: DataError, one line with file, record and id; AnnotationsMissingError (a DataError) as said above.
    """
    dataset = parse_coco(read_json(path), str(path), image_root, masks=masks)
    if require_annotations and not dataset.has_annotations:
        raise AnnotationsMissingError(
            f"{path}: has no annotations (`annotations` is missing or null). Give a file with annotations to train or to score."
        )
    if check_files:
        check_image_files(dataset.path, dataset.image_root, dataset.images)
    return dataset


def parse_coco(
    data: object,
    path: str = "annotations",
    image_root: str | os.PathLike[str] | None = None,
    *,
    masks: bool = True,
    faults: Faults = RAISE_FIRST,
) -> ImageDataset:
    """Check annotations that are already in memory: ``data`` is what a JSON file holds, ``path`` its name in messages.

    Raises: DataError as ``read_coco`` does; where ``faults`` collects, only for data of quite another kind.
    """
    top = _image_file(data, path)
    categories = read_categories(top, path, faults)
    images = read_image_entries(top, path, faults)
    annotated = top.get("annotations") is not None
    known = known_ids(categories, faults)
    objects: dict[int, list[ImageObject]] = {identity: [] for identity in images}
    left_out: dict[str, list[int]] = {}
    seen: dict[int, str] = {}
    for index, annotation in numbered_records(top, "annotations", path, faults) if annotated else []:
        where = f"{path}: annotations[{index}]"
        owner = annotation.get("image_id")
        identity = faults.attempt("record id", integer_field, annotation, "id", f"{where} of image {shown(owner)}")
        if identity is not None:
            faults.attempt("duplicate id", unique, identity, f"{where} (image {shown(owner)})", seen)
            where = f"{where} (id {identity})"
        read = _object(annotation, identity, where, images, known, faults)
        if read is None:
            continue
        image, found = read
        reason = _useless(found, image, masks)
        if reason is None:
            objects[image.id].append(found)
        else:
            left_out.setdefault(reason, []).append(found.id)
            faults.warn("object left out", f"{where}: is an object {reason}: box {list(found.box)}. Training leaves it out.")
    for reason, ids in left_out.items() if not faults.collecting else ():
        logger.warning("%s: %d annotations %s are left out: ids %s.", path, len(ids), reason, _some(ids))
    return ImageDataset(
        path=path,
        images=tuple(ImageRecord(**vars(image), objects=tuple(objects[image.id])) for image in images.values()),
        categories=categories,
        has_annotations=annotated,
        image_root=Path(path).parent if image_root is None else Path(image_root),
    )


def _image_file(data: object, path: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise DataError(
            f"{path}: holds a {type(data).__name__}, expected an object with `images`, `annotations`, `categories`."
        )
    if "images" not in data and "videos" in data:
        raise DataError(f"{path}: is a video data set (`videos`), expected an image data set (`images`).")
    return data


def _object(
    annotation: Mapping[str, Any],
    identity: int | None,
    where: str,
    images: Mapping[int, ImageEntry],
    categories: set[int] | None,
    faults: Faults,
) -> tuple[ImageEntry, ImageObject] | None:
    before = faults.errors
    image = faults.attempt("image id", owner_field, annotation, "image_id", "images", images, where, faults)
    faults.attempt("structure", _instances_only, annotation, where)
    category_id = faults.attempt("category", category_id_field, annotation, where, categories)
    crowd = faults.attempt("iscrowd", flag_field, annotation, "iscrowd", where)
    if image is None:
        return None
    earlier = faults.errors
    mask = faults.attempt("mask", to_rle, annotation.get("segmentation"), image.height, image.width, f"{where}.segmentation")
    lost = faults.errors > earlier and annotation.get("bbox") is None
    box = None if lost else faults.attempt("box", _box, annotation, mask, where)
    area = None if box is None else faults.attempt("area", _area, annotation, mask, box, where)
    if faults.errors > before or identity is None or category_id is None or crowd is None or box is None or area is None:
        return None
    return image, ImageObject(identity, category_id, crowd, box, area, mask)


def _instances_only(annotation: Mapping[str, Any], where: str) -> None:
    if "segments_info" in annotation:
        raise DataError(
            f"{where}: has `segments_info`, so this is a panoptic file; expected instances (`segmentation`, `bbox`)."
        )


def _box(annotation: Mapping[str, Any], mask: RLE | None, where: str) -> Box:
    if annotation.get("bbox") is not None:
        return read_box(annotation["bbox"], f"{where}: `bbox`")
    if mask is None:
        raise DataError(f"{where}: has neither `segmentation` nor `bbox`, expected at least one.")
    x, y, width, height = rle_codec.bounding_box(mask)
    return x, y, width, height


def _area(annotation: Mapping[str, Any], mask: RLE | None, box: Box, where: str) -> float:
    area = annotation.get("area")
    if area is not None:
        return number(area, f"{where}: `area`", 0)
    return float(rle_codec.area(mask)) if mask is not None else max(box[2], 0.0) * max(box[3], 0.0)


def read_box(value: object, where: str) -> Box:
    """A box from JSON. Raises: DataError naming ``where`` unless it is four finite numbers."""
    if not isinstance(value, list | tuple) or len(value) != 4:
        raise DataError(f"{where} is {shown(value)}, expected [x, y, width, height] in pixels.")
    x, y, width, height = (number(v, where) for v in value)
    return x, y, width, height


def _useless(found: ImageObject, image: ImageEntry, masks: bool) -> str | None:
    """Why an object cannot be used, ``None`` if it can."""
    x, y, width, height = found.box
    inside = min(x + width, image.width) > max(x, 0) and min(y + height, image.height) > max(y, 0)
    if width <= 0 or height <= 0 or not inside:
        return "whose box has no area inside the image"
    if masks and found.segmentation is None:
        return "without a segmentation (a box only)"
    return None


def _some(ids: list[int]) -> str:
    return ", ".join(map(str, ids[:20])) + (", …" if len(ids) > 20 else "")
