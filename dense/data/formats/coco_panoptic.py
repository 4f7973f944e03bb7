"""COCO panoptic: a JSON file that lists the segments of each image, and one PNG per image with their ids.

``images`` (id, width, height, file_name), ``annotations`` (image_id, file_name of the PNG, ``segments_info``: id, category_id,
iscrowd), ``categories`` (id, name, isthing). In the PNG id = R + 256 G + 65536 B; 0 is void (unlabelled).
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dense.data.formats.category_table import Category, CategoryTable, category_id_field, known_ids, read_categories
from dense.data.formats.faults import RAISE_FIRST, Faults
from dense.data.formats.image_files import ImageEntry, check_image_files, read_image_entries
from dense.data.formats.png_ids import read_id_map
from dense.data.formats.records import flag_field, integer_field, number, numbered_records, text_field, unique
from dense.data.formats.youtube_vis import AnnotationsMissingError
from dense.errors import DataError
from dense.io import read_json

__all__ = [
    "VOID_ID",
    "PanopticDataset",
    "PanopticRecord",
    "PanopticSegments",
    "SegmentInfo",
    "check_segment_ids",
    "panoptic_annotations",
    "parse_panoptic",
    "read_panoptic",
    "read_segment_infos",
    "read_segments",
]

VOID_ID = 0
_LARGEST_ID = (1 << 24) - 1


@dataclass(frozen=True)
class SegmentInfo:
    """One segment of an image: its ``id`` in the PNG (from 1), category id as in the file, crowd or not, ``area`` in pixels as
    the file states it (``None``: it does not)."""

    id: int
    category_id: int
    iscrowd: bool
    area: float | None = None


@dataclass(frozen=True)
class PanopticSegments:
    """The segments of one image: name of the PNG, one record per segment."""

    image_id: int
    png_name: str
    segments: tuple[SegmentInfo, ...]


@dataclass(frozen=True)
class PanopticRecord(ImageEntry):
    """One annotated image."""

    png_name: str
    segments: tuple[SegmentInfo, ...]


@dataclass(frozen=True)
class PanopticDataset(CategoryTable):
    """A whole annotation file.

    Attributes:
        path: the file (or a description, if the data came from memory).
        images: annotated images in the file's order.
        categories: things and stuff, sorted by id.
        png_root: folder of the PNG files.
        image_root: folder of the pictures.
    """

    path: str
    images: tuple[PanopticRecord, ...]
    categories: tuple[Category, ...]
    png_root: Path
    image_root: Path

    def image_path(self, image: ImageEntry) -> Path:
        """Where the picture of ``image`` lies."""
        return self.image_root / image.file_name

    def ids(self, image: PanopticRecord) -> NDArray[np.int32]:
        """``(H, W)`` segment ids of an image, 0 = void.

        Raises: DataError as ``read_segments``.
        """
        return read_segments(self.png_root / image.png_name, (image.height, image.width), image.segments)


def read_panoptic(
    path: str | os.PathLike[str],
    png_root: str | os.PathLike[str] | None = None,
    image_root: str | os.PathLike[str] | None = None,
    *,
    check_files: bool = False,
) -> PanopticDataset:
    """Read and check a panoptic annotation file.

    Args:
        path: JSON file.
        png_root: folder of the PNG files (default: the file's name without ``.json``).
        image_root: folder of the pictures (default: the folder of ``path``).
        check_files: also read every PNG, and make sure that every picture is on disk at the stated size.

    Raises: DataError, one line with file, record and id; AnnotationsMissingError (a DataError) without annotations.
    """
    dataset = parse_panoptic(read_json(path), str(path), png_root, image_root)
    if check_files:
        check_image_files(dataset.path, dataset.image_root, dataset.images)
        for image in dataset.images:
            dataset.ids(image)
    return dataset


def parse_panoptic(
    data: object,
    path: str = "annotations.json",
    png_root: str | os.PathLike[str] | None = None,
    image_root: str | os.PathLike[str] | None = None,
    faults: Faults = RAISE_FIRST,
) -> PanopticDataset:
    """Check annotations that are already in memory: ``data`` is what a JSON file holds, ``path`` its name in messages.

    Raises: DataError as ``read_panoptic`` does.
    """
    if not isinstance(data, dict):
        raise DataError(
            f"{path}: holds a {type(data).__name__}, expected an object with `images`, `annotations`, `categories`."
        )
    if data.get("annotations") is None:
        raise AnnotationsMissingError(f"{path}: has no annotations (`annotations` is missing or null).")
    categories = read_categories(data, path, faults)
    images = read_image_entries(data, path, faults)
    annotated = panoptic_annotations(data["annotations"], path, known_ids(categories, faults), faults)
    records = []
    for annotation in annotated:
        if annotation.image_id not in images:
            if not faults.is_lost("images", annotation.image_id):
                what = f"annotations: image_id {annotation.image_id} is not in `images`."
                faults.error("image id", f"{path}: {what}", "annotations", annotation.image_id)
            continue
        entry = images[annotation.image_id]
        records.append(PanopticRecord(**vars(entry), png_name=annotation.png_name, segments=annotation.segments))
    return PanopticDataset(
        path=path,
        images=tuple(records),
        categories=categories,
        png_root=Path(path).with_suffix("") if png_root is None else Path(png_root),
        image_root=Path(path).parent if image_root is None else Path(image_root),
    )


def panoptic_annotations(
    annotations: object, path: str, categories: set[int] | None, faults: Faults = RAISE_FIRST
) -> list[PanopticSegments]:
    """Check the ``annotations`` of a panoptic file (ground truth or results).

    Raises: DataError naming ``path``, the record and what is wrong: an image twice, a segment id twice or out of range, an
        unknown category.
    """
    seen: dict[int, str] = {}
    found = []
    for index, record in numbered_records({"annotations": annotations}, "annotations", path, faults):
        where = f"{path}: annotations[{index}]"
        before = faults.errors
        image_id = faults.attempt("image id", integer_field, record, "image_id", where)
        if image_id is None:
            continue
        faults.attempt("duplicate id", unique, image_id, where, seen)
        where = f"{where} (image {image_id})"
        name = faults.attempt("segment", text_field, record, "file_name", where, "the name of a PNG")
        infos = read_segment_infos(record, where, categories, faults)
        if name is not None and faults.errors == before:
            found.append(PanopticSegments(image_id, name, infos))
    return found


def read_segment_infos(
    record: Mapping[str, Any], where: str, categories: set[int] | None, faults: Faults = RAISE_FIRST
) -> tuple[SegmentInfo, ...]:
    """The ``segments_info`` of one picture.

    Raises: DataError naming ``where``, the segment and what is wrong: an id twice or out of range, an unknown category.
    """
    used: dict[int, str] = {}
    segments = numbered_records(record, "segments_info", where, faults)
    infos = [_segment(s, f"{where}.segments_info[{k}]", categories, used, faults) for k, s in segments]
    return tuple(info for info in infos if info is not None)


def _segment(
    record: Mapping[str, Any], where: str, categories: set[int] | None, used: dict[int, str], faults: Faults
) -> SegmentInfo | None:
    identity = faults.attempt("segment", _segment_id, record, where)
    if identity is None:
        return None
    faults.attempt("duplicate id", unique, identity, where, used)
    where = f"{where} (id {identity})"
    category_id = faults.attempt("category", category_id_field, record, where, categories)
    crowd = faults.attempt("iscrowd", flag_field, record, "iscrowd", where)
    area = record.get("area")
    if area is not None:
        area = faults.attempt("area", number, area, f"{where}: `area`", 0)
    return None if category_id is None or crowd is None else SegmentInfo(identity, category_id, crowd, area)


def _segment_id(record: Mapping[str, Any], where: str) -> int:
    identity = integer_field(record, "id", where, minimum=1)
    if identity > _LARGEST_ID:
        raise DataError(f"{where}: id {identity} does not fit three channels, expected at most {_LARGEST_ID}.")
    return identity


def read_segments(path: Path, size: tuple[int, int], segments: tuple[SegmentInfo, ...]) -> NDArray[np.int32]:
    """Read the PNG of an image and compare it with what the JSON file lists.

    Returns: ``(H, W)`` segment ids, 0 = void.
    Raises: DataError naming the PNG and the ids if either has an id that the other lacks, or the size differs.
    """
    ids = read_id_map(path, size)
    check_segment_ids(set(np.unique(ids).tolist()) - {VOID_ID}, {segment.id for segment in segments}, path)
    return ids


def check_segment_ids(
    in_png: set[int], listed: set[int], path: object, faults: Faults = RAISE_FIRST, position: str = ""
) -> None:
    """Compare the ids that occur in a PNG (void left out) with those that the JSON file lists, at ``position`` in it.

    Raises: DataError naming ``path`` and the ids if either has one that the other lacks, unless ``faults`` collects.
    """
    if in_png - listed:
        what = f"has pixels of id {_some(in_png - listed)}, which `segments_info` of the JSON does not list."
        faults.error("PNG id not in JSON", f"{path}: {what}", position, _some(in_png - listed))
    if listed - in_png:
        what = f"has no pixel of id {_some(listed - in_png)}, which `segments_info` of the JSON lists."
        faults.error("segment without pixels", f"{path}: {what}", position, _some(listed - in_png))


def _some(ids: set[int]) -> str:
    return ", ".join(map(str, sorted(ids)[:8])) + (", …" if len(ids) > 8 else "")
