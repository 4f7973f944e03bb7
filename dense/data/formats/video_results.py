"""Result files of video instance segmentation: a JSON list of ``{video_id, score, category_id, segmentations}``, one per track.

``segmentations`` has one compressed RLE per frame, ``null`` where the object is absent; ``category_id`` is an id of the
annotation file. This is what the challenge servers of YouTube-VIS and OVIS take.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dense.data.formats.mask_tracks import track_masks
from dense.data.formats.records import integer_field, number
from dense.data.formats.youtube_vis import VideoDataset, VideoRecord
from dense.errors import DataError
from dense.io import read_json, to_plain, write_json
from dense.structures.results import VideoResult
from dense.structures.rle import RLE, encode

__all__ = ["ResultRecord", "parse_video_results", "read_video_results", "video_result_to_records", "write_video_results"]


@dataclass(frozen=True)
class ResultRecord:
    """One predicted track: ids as in the annotation file, ``score`` finite, T masks at the video's size (``None`` = absent)."""

    video_id: int
    category_id: int
    score: float
    segmentations: tuple[RLE | None, ...]


def read_video_results(path: str | os.PathLike[str], dataset: VideoDataset) -> list[ResultRecord]:
    """Read a result file and check it against the annotation file it belongs to; the order is kept.

    Raises: DataError, one line with file, record index and what is wrong (unknown video or category, score not finite, wrong
    number of frames, mask of another size).
    """
    return parse_video_results(read_json(path), dataset, str(path))


def parse_video_results(data: object, dataset: VideoDataset, path: str = "predictions") -> list[ResultRecord]:
    """Check results that are already in memory: ``data`` is what the file would hold, ``path`` its name in messages.

    Raises: DataError as ``read_video_results`` does.
    """
    if not isinstance(data, list):
        raise DataError(f"{path}: holds a {type(data).__name__}, expected a list of results (an annotation file was given?).")
    videos = {video.id: video for video in dataset.videos}
    categories = set(dataset.contiguous_ids)
    return [_record(entry, f"{path}: results[{index}]", videos, categories) for index, entry in enumerate(data)]


def _record(entry: object, where: str, videos: Mapping[int, VideoRecord], categories: set[int]) -> ResultRecord:
    if not isinstance(entry, dict):
        raise DataError(
            f"{where}: is {type(entry).__name__}, expected an object with video_id, category_id, score, segmentations."
        )
    video_id = integer_field(entry, "video_id", where)
    if video_id not in videos:
        raise DataError(
            f"{where}: video_id {video_id} is not a video of the annotation file. Score against the set it was made on."
        )
    where = f"{where} (video {video_id})"
    category_id = integer_field(entry, "category_id", where)
    if category_id not in categories:
        raise DataError(f"{where}: category_id {category_id} is not a category of the annotation file.")
    if "score" not in entry:
        raise DataError(f"{where}: `score` is missing, expected a number.")
    score = number(entry["score"], f"{where}: score")
    masks, video = entry.get("segmentations"), videos[video_id]
    if not isinstance(masks, list):
        raise DataError(f"{where}: `segmentations` is {type(masks).__name__}, expected a list with one mask or null per frame.")
    if len(masks) != video.length:
        raise DataError(f"{where}: `segmentations` has {len(masks)} entries, but the video has {video.length} frames.")
    return ResultRecord(video_id, category_id, score, track_masks(masks, video.height, video.width, f"{where}: segmentations"))


def write_video_results(path: str | os.PathLike[str], records: Iterable[ResultRecord | Mapping[str, Any]]) -> None:
    """Write a result file atomically.

    Args:
        path: target; an older file is replaced only once the new one is complete.
        records: ``ResultRecord`` or dictionaries with its four fields. NumPy scalars, ``bytes`` counts and ``(H, W)`` mask
            arrays (encoded here) are welcome.

    Raises: DataError naming the record if a field is missing, an id is not whole or a score not finite; nothing is written.
    """
    write_json(path, [_plain_record(record, f"{path}: record {index}") for index, record in enumerate(records)])


def _plain_record(record: ResultRecord | Mapping[str, Any], where: str) -> dict[str, Any]:
    fields = vars(record) if isinstance(record, ResultRecord) else record
    plain = {k: _scalar(fields[k]) for k in ("video_id", "category_id", "score") if k in fields}
    masks = fields.get("segmentations")
    if isinstance(masks, str | bytes | Mapping) or not isinstance(masks, Iterable):
        raise DataError(f"{where}: `segmentations` is {type(masks).__name__}, expected one mask or None per frame.")
    return {
        "video_id": integer_field(plain, "video_id", where),
        "score": number(plain.get("score"), f"{where}: score"),
        "category_id": integer_field(plain, "category_id", where),
        "segmentations": [_plain_mask(mask, f"{where}: segmentations[{t}]") for t, mask in enumerate(masks)],
    }


def _scalar(value: object) -> object:
    return value.item() if isinstance(value, np.generic | np.ndarray) and value.ndim == 0 else value


def _plain_mask(mask: object, where: str) -> object:
    if mask is None:
        return None
    if isinstance(mask, np.ndarray):
        if mask.ndim != 2:
            raise DataError(f"{where}: shape {mask.shape}, expected (H, W).")
        return encode(mask)
    if isinstance(mask, Mapping) and {"size", "counts"} <= set(mask):
        return to_plain({"size": mask["size"], "counts": mask["counts"]})
    raise DataError(f"{where}: is {type(mask).__name__}, expected an RLE, a (H, W) array or None.")


def video_result_to_records(result: VideoResult, video_id: int, category_ids: Sequence[int]) -> list[ResultRecord]:
    """Tracks of a predictor as result records.

    Args:
        result: of one video.
        video_id: its id in the annotation file.
        category_ids: K ids of the annotation file, one for each contiguous label (``VideoDataset.categories`` in order).

    Raises: DataError if a label has no id or a track has not one entry per frame.
    """
    records = []
    for index, track in enumerate(result.tracks):
        where = f"video {video_id}: tracks[{index}]"
        if not 0 <= track.label < len(category_ids):
            raise DataError(f"{where}: label {track.label}, expected 0 to {len(category_ids) - 1} (one per category id).")
        if len(track.masks) != result.num_frames:
            raise DataError(f"{where}: {len(track.masks)} masks, expected one per frame ({result.num_frames}).")
        records.append(ResultRecord(video_id, int(category_ids[track.label]), float(track.score), tuple(track.masks)))
    return records
