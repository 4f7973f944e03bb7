"""VIPSeg: panoptic segmentation of videos, from one JSON file and a PNG of segment ids per frame.

``videos`` (video_id, ``images``: id, width, height, file_name), ``annotations`` (video_id, ``annotations``: image_id,
file_name of the PNG, ``segments_info``: id, category_id, iscrowd, area), ``categories`` (id, name, isthing). Ids of videos and
images are text. In the PNG id = R + 256 G + 65536 B, 0 is void; a segment keeps its id through the video. On disk::

    panoptic_gt_VIPSeg_{train,val}.json    images/<video>/<frame>.jpg    panomasksRGB/<video>/<frame>.png
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dense.data.formats.category_table import Category, CategoryTable, known_ids, read_categories
from dense.data.formats.coco_panoptic import SegmentInfo, read_segment_infos, read_segments
from dense.data.formats.faults import RAISE_FIRST, Faults
from dense.data.formats.records import name_field, numbered_records, size_fields, text_field, unique
from dense.data.formats.youtube_vis import AnnotationsMissingError
from dense.errors import DataError
from dense.io import read_json

__all__ = ["PanopticFrame", "PanopticVideo", "PanopticVideoDataset", "parse_vipseg", "read_vipseg"]


@dataclass(frozen=True)
class PanopticFrame:
    """One frame: image id, size in pixels, names of picture and PNG below the video's folders (``png_name`` is ``None``
    without annotations), segments."""

    id: str
    width: int
    height: int
    file_name: str
    png_name: str | None
    segments: tuple[SegmentInfo, ...]


@dataclass(frozen=True)
class PanopticVideo:
    """One video: its id, which is also the name of its folders, and its frames in playing order."""

    id: str
    frames: tuple[PanopticFrame, ...]

    @property
    def length(self) -> int:
        """Number of frames T."""
        return len(self.frames)


@dataclass(frozen=True)
class PanopticVideoDataset(CategoryTable):
    """A whole annotation file.

    Attributes:
        path: the file (or a description, if the data came from memory).
        videos: in the file's order.
        categories: things and stuff, sorted by id.
        has_annotations: False if ``annotations`` is missing or ``null``.
        png_root: folder of the PNG files, one sub-folder per video.
        image_root: folder of the pictures, one sub-folder per video.
    """

    path: str
    videos: tuple[PanopticVideo, ...]
    categories: tuple[Category, ...]
    has_annotations: bool
    png_root: Path
    image_root: Path

    def frame_path(self, video: PanopticVideo, frame: int) -> Path:
        """Where the picture of a frame (index from 0) lies."""
        return self.image_root / video.id / video.frames[frame].file_name

    def png_path(self, video: PanopticVideo, frame: int) -> Path:
        """Where the PNG of a frame (index from 0) lies. Raises: DataError for a frame without annotations."""
        name = video.frames[frame].png_name
        if name is None:
            raise DataError(f"{self.path}: video {video.id}: frame {frame} has no annotations, so it has no PNG.")
        return self.png_root / video.id / name

    def ids(self, video: PanopticVideo, frame: int) -> NDArray[np.int32]:
        """``(H, W)`` segment ids of a frame (index from 0), 0 = void.

        Raises: DataError as ``png_path``, and naming the PNG if it is missing, broken, of another size, or has other ids than
            the JSON file lists.
        """
        record = video.frames[frame]
        return read_segments(self.png_path(video, frame), (record.height, record.width), record.segments)


def read_vipseg(
    path: str | os.PathLike[str],
    png_root: str | os.PathLike[str] | None = None,
    image_root: str | os.PathLike[str] | None = None,
    *,
    check_files: bool = False,
    require_annotations: bool = False,
) -> PanopticVideoDataset:
    """Read and check a video panoptic annotation file.

    Args:
        path: JSON file.
        png_root: folder of the PNG files (default: ``panomasksRGB`` beside the file).
        image_root: folder of the pictures (default: ``images`` beside the file).
        check_files: also read every PNG, and make sure that every picture is on disk.
        require_annotations: without annotations raise instead of returning videos without segments.

    Raises: DataError, one line with file, record and id; AnnotationsMissingError (a DataError) as said above.
    """
    dataset = parse_vipseg(read_json(path), str(path), png_root, image_root)
    if require_annotations and not dataset.has_annotations:
        raise AnnotationsMissingError(f"{path}: has no annotations (`annotations` is missing or null).")
    for video in dataset.videos if check_files else ():
        for t in range(video.length):
            if not dataset.frame_path(video, t).is_file():
                raise DataError(
                    f"{path}: video {video.id}: frame {t} is not on disk, expected {dataset.frame_path(video, t)}."
                    " Check the image folder."
                )
            if dataset.has_annotations:
                dataset.ids(video, t)
    return dataset


def parse_vipseg(
    data: object,
    path: str = "annotations.json",
    png_root: str | os.PathLike[str] | None = None,
    image_root: str | os.PathLike[str] | None = None,
    faults: Faults = RAISE_FIRST,
) -> PanopticVideoDataset:
    """Check annotations that are already in memory: ``data`` is what a JSON file holds, ``path`` its name in messages.

    Raises: DataError as ``read_vipseg`` does; where ``faults`` collects, only for data of quite another kind.
    """
    if not isinstance(data, dict):
        raise DataError(
            f"{path}: holds a {type(data).__name__}, expected an object with `videos`, `annotations`, `categories`."
        )
    if "videos" not in data and "images" in data:
        raise DataError(f"{path}: is an image data set (`images`), expected a video data set (`videos` with `images`).")
    categories = read_categories(data, path, faults)
    annotated = data.get("annotations") is not None
    known = known_ids(categories, faults)
    segments = _annotations(data, path, known, faults) if annotated else {}
    videos = _videos(data, path, segments if annotated else None, faults)
    for name in sorted(segments.keys() - {video.id for video in videos}):
        if not faults.is_lost("videos", name):
            faults.error("video id", f"{path}: annotations: video_id {name} is not in `videos`.", "annotations", name)
    beside = Path(path).parent
    return PanopticVideoDataset(
        path=path,
        videos=tuple(videos),
        categories=categories,
        has_annotations=annotated,
        png_root=beside / "panomasksRGB" if png_root is None else Path(png_root),
        image_root=beside / "images" if image_root is None else Path(image_root),
    )


_Segments = dict[str, tuple[str, tuple[SegmentInfo, ...]]]
"""Image id → name of the PNG, segments."""


def _annotations(top: Mapping[str, Any], path: str, categories: set[int] | None, faults: Faults) -> dict[str, _Segments]:
    """The annotated frames of each video by its id."""
    seen: dict[str, str] = {}
    found: dict[str, _Segments] = {}
    for index, record in numbered_records(top, "annotations", path, faults):
        where = f"{path}: annotations[{index}]"
        video = faults.attempt("video id", name_field, record, "video_id", where)
        if video is None:
            continue
        faults.attempt("duplicate id", unique, video, where, seen)
        where = f"{where} (video {video})"
        frames = found.setdefault(video, {})
        used: dict[str, str] = {}
        for number, frame in numbered_records(record, "annotations", where, faults):
            _annotate(frame, f"{where}.annotations[{number}]", categories, frames, used, faults)
    return found


def _annotate(
    record: Mapping[str, Any], where: str, categories: set[int] | None, frames: _Segments, used: dict[str, str], faults: Faults
) -> None:
    """Add one annotated frame to those of its video."""
    image = faults.attempt("image id", name_field, record, "image_id", where)
    if image is None:
        return
    faults.attempt("duplicate id", unique, image, where, used)
    where = f"{where} (image {image})"
    png = faults.attempt("segment", text_field, record, "file_name", where, "the name of a PNG")
    frames[image] = (png or "", read_segment_infos(record, where, categories, faults))


def _videos(top: Mapping[str, Any], path: str, annotated: dict[str, _Segments] | None, faults: Faults) -> list[PanopticVideo]:
    """The videos in the file's order; ``annotated`` is ``None`` where the file has no annotations."""
    seen: dict[str, str] = {}
    videos = []
    for index, record in numbered_records(top, "videos", path, faults):
        where = f"{path}: videos[{index}]"
        name = faults.attempt("video record", name_field, record, "video_id", where)
        if name is None:
            continue
        faults.attempt("duplicate id", unique, name, where, seen)
        faults.lose("videos", name)  # named here, hence known, whatever becomes of its frames
        where = f"{where} (video {name})"
        frames = _frames(record, where, None if annotated is None else annotated.get(name, {}), faults)
        if frames:
            videos.append(PanopticVideo(name, frames))
        else:
            faults.error("video record", f"{where}: `images` has no frame that can be used, expected at least one.")
    return videos


def _frames(record: Mapping[str, Any], where: str, annotated: _Segments | None, faults: Faults) -> tuple[PanopticFrame, ...]:
    seen: dict[str, str] = {}
    frames = []
    for index, image in numbered_records(record, "images", where, faults):
        place = f"{where}.images[{index}]"
        name = faults.attempt("image record", name_field, image, "id", place)
        if name is None:
            continue
        faults.attempt("duplicate id", unique, name, place, seen)
        place = f"{place} (image {name})"
        file = faults.attempt("image record", text_field, image, "file_name", place)
        size = faults.attempt("image record", size_fields, image, place)
        if annotated is not None and name not in annotated:
            faults.error("image id", f"{place}: has no entry in `annotations`, expected one per frame.")
        png, segments = (annotated or {}).get(name, (None, ()))
        if file is not None and size is not None:
            frames.append(PanopticFrame(name, size[1], size[0], file, png, segments))
    for name in sorted((annotated or {}).keys() - seen.keys()):
        faults.error("image id", f"{where}: `annotations` has image_id {name}, which `images` does not list.")
    return tuple(frames)
