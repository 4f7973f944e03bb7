"""Video panoptic segmentation in VIPSeg's form: a JSON file with the segments of each frame, a folder of PNG files per video.

``annotations``: one entry per video, ``video_id`` (also the name of its folder) and ``annotations``, one entry per frame:
``file_name`` and ``segments_info`` (id, category_id, iscrowd). Ground truth also has ``categories`` (id, name, isthing) and
``videos`` (video_id, images with width and height). In the PNG files id = R + 256 G + 65536 B, 0 is void; an object keeps its
id through the video. A result is the same with ``annotations`` alone: ``pred.json`` and ``pan_pred/<video>/<frame>.png``.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dense.data.formats.category_table import Category, CategoryTable, category_id_field, read_categories
from dense.data.formats.coco_panoptic import VOID_ID, SegmentInfo, read_segment_infos
from dense.data.formats.png_ids import write_id_map
from dense.data.formats.records import list_of_records, size_fields, text
from dense.data.formats.youtube_vis import AnnotationsMissingError
from dense.errors import DataError, shown
from dense.io import read_json, write_json

__all__ = [
    "ScoredFrame",
    "ScoredVideo",
    "VideoPanopticTruth",
    "VideoPanopticWriter",
    "read_video_panoptic_results",
    "read_video_panoptic_truth",
    "write_video_panoptic",
]

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class ScoredFrame:
    """One frame: ``png_name`` in the folder of its video, its segments, (height, width) where the file says so."""

    png_name: str
    segments: tuple[SegmentInfo, ...]
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class ScoredVideo:
    """One video: its ``name`` is its id as text, and that of its folder; frames in the file's order."""

    name: str
    frames: tuple[ScoredFrame, ...]


@dataclass(frozen=True)
class VideoPanopticTruth(CategoryTable):
    """What an annotation file says about its segments.

    Attributes:
        path: the file.
        videos: annotated videos in the file's order.
        categories: things and stuff, sorted by id.
    """

    path: str
    videos: tuple[ScoredVideo, ...]
    categories: tuple[Category, ...]


def read_video_panoptic_truth(path: PathLike) -> VideoPanopticTruth:
    """Read the segments of an annotation file; the PNG files are read when they are scored.

    Raises: DataError, one line with file, video and record; AnnotationsMissingError (a DataError) without annotations.
    """
    data = _top(path)
    if not data.get("annotations"):
        raise AnnotationsMissingError(f"{path}: has no annotations (`annotations` is missing, null or empty).")
    categories = read_categories(data, str(path))
    videos = _videos(data["annotations"], str(path), {category.id for category in categories}, _sizes(data, str(path)))
    return VideoPanopticTruth(str(path), tuple(videos.values()), categories)


def read_video_panoptic_results(path: PathLike, truth: VideoPanopticTruth) -> dict[str, ScoredVideo]:
    """Read a result file: the videos of ``truth`` by name, their frames in the order of ``truth``.

    Raises: DataError naming the file, video and frame if a category is unknown, or if ``truth`` has a video or frame that the
        results lack, or the other way round.
    """
    found = _videos(_top(path).get("annotations"), str(path), set(truth.contiguous_ids), {})
    known = {video.name for video in truth.videos}
    for unknown in sorted(set(found) - known):
        raise DataError(f"{path}: video {unknown} is not in {truth.path}. Score against the set it was made on.")
    results = {}
    for video in truth.videos:
        if video.name not in found:
            raise DataError(f"{path}: video {video.name} of {truth.path} has no result, expected one per video.")
        frames = {frame.png_name: frame for frame in found[video.name].frames}
        wanted = [frame.png_name for frame in video.frames]
        for name in wanted:
            if name not in frames:
                raise DataError(f"{path}: video {video.name}: frame {name} of {truth.path} has no result.")
        for name in frames.keys() - set(wanted):
            raise DataError(f"{path}: video {video.name}: frame {name} is not in {truth.path}.")
        results[video.name] = ScoredVideo(video.name, tuple(frames[name] for name in wanted))
    return results


def _top(path: PathLike) -> dict[str, Any]:
    data = read_json(path)
    if not isinstance(data, dict):
        raise DataError(f"{path}: holds a {type(data).__name__}, expected an object with `annotations`.")
    return data


def _videos(
    annotations: object, path: str, categories: set[int], sizes: Mapping[tuple[str, str], tuple[int, int]]
) -> dict[str, ScoredVideo]:
    videos: dict[str, ScoredVideo] = {}
    for index, entry in enumerate(list_of_records({"annotations": annotations}, "annotations", path)):
        name = _file_part(entry, "video_id", f"{path}: annotations[{index}]")
        where = f"{path}: annotations[{index}] (video {name})"
        if name in videos:
            raise DataError(f"{where}: the video occurs twice, expected one entry per video.")
        frames: dict[str, ScoredFrame] = {}
        for position, record in enumerate(list_of_records(entry, "annotations", where)):
            place = f"{where}: annotations[{position}]"
            png = _png_name(record, place)
            if png in frames:
                raise DataError(f"{place}: frame {png} occurs twice in its video.")
            frames[png] = ScoredFrame(png, read_segment_infos(record, f"{place} ({png})", categories), sizes.get((name, png)))
        videos[name] = ScoredVideo(name, tuple(frames.values()))
    return videos


def _sizes(data: Mapping[str, Any], path: str) -> dict[tuple[str, str], tuple[int, int]]:
    """(height, width) by video and PNG name, as far as ``videos`` is there and says so."""
    sizes = {}
    for index, entry in enumerate(list_of_records(data, "videos", path) if data.get("videos") is not None else []):
        where = f"{path}: videos[{index}]"
        name = _file_part(entry, "video_id", where)
        for position, image in enumerate(list_of_records(entry, "images", where) if "images" in entry else []):
            place = f"{where} (video {name}): images[{position}]"
            if "height" in image and "width" in image:
                height, width = size_fields(image, place)
                sizes[name, _png_name(image, place)] = (height, width)
    return sizes


def _png_name(record: Mapping[str, Any], where: str) -> str:
    """Name of the PNG of a frame, whose picture may be a JPEG of the same stem."""
    return PurePosixPath(_file_part(record, "file_name", where)).with_suffix(".png").as_posix()


def _file_part(record: Mapping[str, Any], field: str, where: str) -> str:
    """``record[field]`` as a path below the folder of the files: text, or a whole number."""
    value = record.get(field)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    name = text(value, f"{where}: `{field}`")
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or ".." in parts or parts[0] == "/" or ":" in parts[0]:
        raise DataError(f"{where}: `{field}` is {shown(value)}, expected a name below the folder of the files.")
    return name


class VideoPanopticWriter:
    """Writes a submission: each PNG at once, the JSON file by ``close``. Memory does not grow with the size of the frames.

    Args:
        folder: gets ``pred.json`` and ``pan_pred/<video>/<frame>.png``.
        categories: ids of the annotation file that results may have.
    """

    def __init__(self, folder: PathLike, categories: Iterable[int]) -> None:
        self.folder, self._categories = Path(folder), set(categories)
        self._videos: dict[str, dict[str, dict[str, Any]]] = {}  # video, name of the PNG

    def add_frame(self, video: str, file_name: str, ids: NDArray[np.integer], categories: Mapping[int, int]) -> None:
        """Write one frame.

        Args:
            video: its ``video_id`` in the annotation file.
            file_name: of the frame in the annotation file; the PNG gets the same stem.
            ids: ``(H, W)`` segment ids from 0 to 2**24 - 1, 0 = nothing. An object keeps its id through the video.
            categories: category id of each segment id, also of segments that this frame lacks.

        Raises: DataError for an id without category, an unknown category, or a frame that was written before.
        """
        where = f"video {video}, frame {file_name}"
        png = _png_name({"file_name": file_name}, where)
        records = self._videos.setdefault(_file_part({"video_id": video}, "video_id", where), {})
        if png in records:
            raise DataError(f"{where}: was written before, expected each frame once.")
        infos = [self._segment(ids, identity, categories, where) for identity in np.unique(ids).tolist() if identity != VOID_ID]
        write_id_map(self.folder / "pan_pred" / str(video) / png, ids)
        records[png] = {"file_name": png, "image_id": PurePosixPath(png).stem, "segments_info": infos}

    def _segment(self, ids: NDArray[np.integer], identity: int, categories: Mapping[int, int], where: str) -> dict[str, Any]:
        if identity not in categories:
            raise DataError(f"{where}: has pixels of id {identity}, expected one of the ids that have a category.")
        category_id = category_id_field({"category_id": categories[identity]}, f"{where}: id {identity}", self._categories)
        mask = ids == identity
        rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
        area = np.count_nonzero(mask)
        return {"id": identity, "category_id": category_id, "iscrowd": 0, "area": area, "bbox": box}

    @property
    def entries(self) -> list[dict[str, Any]]:
        """What ``pred.json`` says of each video so far, in the order in which they came."""
        return [{"video_id": name, "annotations": list(frames.values())} for name, frames in self._videos.items()]

    def close(self) -> Path:
        """Write ``pred.json`` atomically; returns its path."""
        return write_video_panoptic(self.folder / "pred.json", self.entries)


def write_video_panoptic(path: PathLike, entries: Sequence[Mapping[str, Any]]) -> Path:
    """Write the JSON file of a submission, atomically; ``entries`` are those of one or several writers. Returns: its path."""
    write_json(path, {"annotations": list(entries)})
    return Path(path)
