"""YouTube-VIS 2019/2021/2022 and OVIS annotation files: read, checked, as frozen records.

One JSON file: ``videos`` (id, width, height, length, file_names), ``annotations`` (id, video_id, category_id, iscrowd, and
``segmentations``, ``bboxes``, ``areas`` with one entry per frame; ``null`` = not visible), ``categories`` (id, name). The
challenges' validation files have no annotations.
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
from dense.data.formats.mask_tracks import track_masks
from dense.data.formats.records import (
    flag_field,
    integer_field,
    number,
    numbered_records,
    owner_field,
    size_fields,
    text,
    unique,
)
from dense.errors import DataError, shown
from dense.io import read_json
from dense.structures import rle as rle_codec
from dense.structures.rle import RLE

__all__ = [
    "AnnotationsMissingError",
    "Category",
    "ObjectTrack",
    "VideoDataset",
    "VideoRecord",
    "parse_youtube_vis",
    "read_youtube_vis",
]


class AnnotationsMissingError(DataError):
    """The file lists videos but no annotations (as the challenges' validation files do): nothing to train on or to score."""


@dataclass(frozen=True)
class ObjectTrack:
    """One annotated object through a video of T frames.

    Attributes:
        id: annotation id, unique in the file; may be 0.
        video_id: id of its video.
        category_id: category id as in the file (see ``VideoDataset.contiguous_id``).
        iscrowd: a group of objects: ignored in training, absorbs predictions in evaluation.
        segmentations: T compressed RLEs at the video's size, ``None`` where the object is not visible.
        areas: T areas in pixels as the file states them, or counted from the masks where the file has none.
    """

    id: int
    video_id: int
    category_id: int
    iscrowd: bool
    segmentations: tuple[RLE | None, ...]
    areas: tuple[float | None, ...]

    def rle(self, frame: int) -> RLE | None:
        """Mask of one frame (index from 0) as RLE, ``None`` where the object is not visible."""
        return self.segmentations[frame]

    def mask(self, frame: int) -> NDArray[np.bool_] | None:
        """Mask of one frame (index from 0) as ``(H, W)`` bool, ``None`` where the object is not visible."""
        mask = self.segmentations[frame]
        return None if mask is None else rle_codec.decode(mask)


@dataclass(frozen=True)
class VideoRecord:
    """One video: sizes in pixels, frame files in playing order (relative to the image folder), annotated objects."""

    id: int
    width: int
    height: int
    file_names: tuple[str, ...]
    tracks: tuple[ObjectTrack, ...]

    @property
    def length(self) -> int:
        """Number of frames T."""
        return len(self.file_names)


@dataclass(frozen=True)
class VideoDataset(CategoryTable):
    """A whole annotation file.

    Attributes:
        path: the file (or a description, if the data came from memory).
        videos: in the file's order, videos without any object included.
        categories: sorted by id, so that the position is the contiguous index.
        has_annotations: False if ``annotations`` is missing or ``null``.
        image_root: folder that ``file_names`` are relative to, if known.
    """

    path: str
    videos: tuple[VideoRecord, ...]
    categories: tuple[Category, ...]
    has_annotations: bool
    image_root: Path | None = None

    def frame_paths(self, video: VideoRecord) -> tuple[Path, ...]:
        """Path of each frame of ``video``, below ``image_root`` (default: the folder of the annotation file)."""
        root = self.image_root if self.image_root is not None else Path(self.path).parent
        return tuple(root / name for name in video.file_names)


def read_youtube_vis(
    path: str | os.PathLike[str],
    image_root: str | os.PathLike[str] | None = None,
    check_files: bool = False,
    require_annotations: bool = False,
) -> VideoDataset:
    """Read and check an annotation file.

    A missing ``length`` is the number of file names, missing ``iscrowd`` is 0, missing ``areas`` are counted from the masks,
    and a missing width or height is taken from a mask. A frame's mask counts only if its box is not null either (where the
    file has boxes).

    Args:
        path: JSON file.
        image_root: folder that ``file_names`` are relative to (default: the folder of ``path``).
        check_files: also make sure that every frame is on disk.
        require_annotations: without annotations raise instead of returning videos without objects.

    Raises: DataError, one line with file, record index and id; AnnotationsMissingError (a DataError) as said above.
    """
    dataset = parse_youtube_vis(read_json(path), str(path), image_root)
    if require_annotations and not dataset.has_annotations:
        raise AnnotationsMissingError(
            f"{path}: has no annotations (`annotations` is missing or null), as validation files of the challenges."
            " Give a file with annotations to train or to score."
        )
    if check_files:
        _check_files(dataset)
    return dataset


def parse_youtube_vis(
    data: object,
    path: str = "annotations",
    image_root: str | os.PathLike[str] | None = None,
    faults: Faults = RAISE_FIRST,
) -> VideoDataset:
    """Check annotations that are already in memory: ``data`` is what a JSON file holds, ``path`` its name in messages.

    Raises: DataError as ``read_youtube_vis`` does; where ``faults`` collects, only for data of quite another kind.
    """
    top = _video_file(data, path)
    categories = read_categories(top, path, faults)
    annotated = top.get("annotations") is not None
    annotations = numbered_records(top, "annotations", path, faults) if annotated else []
    videos = _videos(top, path, _sizes_from_masks([record for _, record in annotations]), faults)

    known_categories = known_ids(categories, faults)
    tracks: dict[int, list[ObjectTrack]] = {identity: [] for identity in videos}
    seen: dict[int, str] = {}
    for index, annotation in annotations:
        where = f"{path}: annotations[{index}]"
        owner = f"{where} of video {shown(annotation.get('video_id'))}"
        identity = faults.attempt("record id", integer_field, annotation, "id", owner)
        if identity is not None:
            faults.attempt("duplicate id", unique, identity, where, seen)
            where = f"{where} (id {identity})"
        track = _track(annotation, identity, where, videos, known_categories, faults)
        if track is not None:
            tracks[track.video_id].append(track)
    return VideoDataset(
        path=path,
        videos=tuple(VideoRecord(v.id, v.width, v.height, v.file_names, tuple(tracks[v.id])) for v in videos.values()),
        categories=categories,
        has_annotations=annotated,
        image_root=None if image_root is None else Path(image_root),
    )


def _video_file(data: object, path: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise DataError(
            f"{path}: holds a {type(data).__name__}, expected an object with `videos`, `annotations`, `categories`."
        )
    if "videos" not in data and "images" in data:
        raise DataError(
            f"{path}: is an image data set (`images`), expected a video data set (`videos`, annotations with `video_id`)."
        )
    return data


def _sizes_from_masks(annotations: list[dict[str, Any]]) -> dict[Any, Any]:
    """Size of the first mask of each video, unchecked: only for videos that state none (checked like a stated size)."""
    sizes: dict[Any, Any] = {}
    for annotation in annotations:
        masks = annotation.get("segmentations")
        video = annotation.get("video_id")
        if isinstance(masks, list) and isinstance(video, int) and video not in sizes:
            size = next((m.get("size") for m in masks if isinstance(m, dict)), None)
            if isinstance(size, list) and len(size) == 2:
                sizes[video] = {"height": size[0], "width": size[1]}
    return sizes


def _videos(top: Mapping[str, Any], path: str, sizes: dict[Any, Any], faults: Faults) -> dict[int, VideoRecord]:
    seen: dict[int, str] = {}
    videos: dict[int, VideoRecord] = {}
    for index, record in numbered_records(top, "videos", path, faults):
        where = f"{path}: videos[{index}]"
        identity = faults.attempt("video record", integer_field, record, "id", where)
        if identity is None:
            continue
        faults.attempt("duplicate id", unique, identity, where, seen)
        where = f"{where} (id {identity})"
        names = faults.attempt("video record", _file_names, record, where)
        size = {**sizes.get(identity, {}), **{k: record[k] for k in ("height", "width") if record.get(k) is not None}}
        found = faults.attempt("video record", size_fields, size, where)
        if names is None or found is None:
            faults.lose("videos", identity)
        else:
            videos.setdefault(identity, VideoRecord(identity, found[1], found[0], names, ()))
    return videos


def _file_names(record: Mapping[str, Any], where: str) -> tuple[str, ...]:
    names = record.get("file_names")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise DataError(f"{where}: `file_names` is {_kind(names)}, expected a list with the path of each frame.")
    for t, name in enumerate(names):
        text(name, f"{where}: file_names[{t}]", "a path")
    if record.get("length") is not None:
        length = integer_field(record, "length", where)
        if length != len(names):
            raise DataError(f"{where}: `length` is {length}, but `file_names` lists {len(names)} frames.")
    return tuple(names)


def _track(
    annotation: Mapping[str, Any],
    identity: int | None,
    where: str,
    videos: Mapping[int, VideoRecord],
    categories: set[int] | None,
    faults: Faults,
) -> ObjectTrack | None:
    before = faults.errors
    video = faults.attempt("video id", owner_field, annotation, "video_id", "videos", videos, where, faults)
    category_id = faults.attempt("category", category_id_field, annotation, where, categories)
    crowd = faults.attempt("iscrowd", flag_field, annotation, "iscrowd", where)
    if video is None:
        return None
    segmentations = faults.attempt("entries per frame", _segmentations, annotation, video, where)
    boxes = faults.attempt("entries per frame", _per_frame, annotation, "bboxes", video, where)
    for frame, box in enumerate(boxes or ()):
        faults.attempt("box", _check_box, box, f"{where}.bboxes[{frame}]")
    masks = track_masks(segmentations or [], video.height, video.width, f"{where}.segmentations", faults)
    if boxes is not None and segmentations is not None:
        masks = tuple(mask if box is not None else None for mask, box in zip(masks, boxes, strict=True))
    stated = faults.attempt("entries per frame", _per_frame, annotation, "areas", video, where)
    areas = _areas(stated, masks, where, faults)
    if faults.errors > before or identity is None or category_id is None or crowd is None:
        return None
    return ObjectTrack(identity, video.id, category_id, crowd, masks, areas)


def _segmentations(annotation: Mapping[str, Any], video: VideoRecord, where: str) -> list[Any] | None:
    if "segmentations" not in annotation:
        raise DataError(f"{where}: `segmentations` is missing, expected a list with one entry per frame.")
    return _per_frame(annotation, "segmentations", video, where)


def _per_frame(annotation: Mapping[str, Any], field: str, video: VideoRecord, where: str) -> list[Any] | None:
    value = annotation.get(field)
    if value is None and field != "segmentations":
        return None
    if not isinstance(value, list):
        raise DataError(f"{where}: `{field}` is {_kind(value)}, expected a list with one entry per frame.")
    if len(value) != video.length:
        raise DataError(f"{where}: `{field}` has {len(value)} entries, but video {video.id} has {video.length} frames.")
    return value


def _check_box(box: object, where: str) -> None:
    if box is None:
        return
    if not isinstance(box, list) or len(box) != 4:
        raise DataError(f"{where} is {shown(box)}, expected [x, y, width, height] in pixels or null.")
    for value in box:
        number(value, where)


def _areas(stated: list[Any] | None, masks: tuple[RLE | None, ...], where: str, faults: Faults) -> tuple[float | None, ...]:
    if stated is None:
        return tuple(None if mask is None else float(rle_codec.area(mask)) for mask in masks)
    return tuple(
        None if area is None else faults.attempt("area", number, area, f"{where}.areas[{t}]", 0)
        for t, area in enumerate(stated)
    )


def _check_files(dataset: VideoDataset) -> None:
    missing = [(index, video, t) for index, video in enumerate(dataset.videos) for t in _missing_frames(dataset, video)]
    if missing:
        index, video, t = missing[0]
        more = f" {len(missing) - 1} more frames are missing." if len(missing) > 1 else ""
        raise DataError(
            f"{dataset.path}: videos[{index}] (id {video.id}): frame {t} is not on disk, expected"
            f" {dataset.frame_paths(video)[t]}.{more} Check the image folder."
        )


def _missing_frames(dataset: VideoDataset, video: VideoRecord) -> list[int]:
    return [t for t, path in enumerate(dataset.frame_paths(video)) if not path.is_file()]


def _kind(value: object) -> str:
    return "missing or null" if value is None else "empty" if value == [] else f"a {type(value).__name__}"
