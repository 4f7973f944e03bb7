"""Readers of video panoptic and video semantic sets (VIPSeg, VSPW) and of result files in their forms."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dense.data.formats import read_vipseg, read_vspw
from dense.data.formats.label_videos import label_videos
from dense.data.formats.png_ids import write_label_map
from dense.data.formats.video_panoptic import read_video_panoptic_results, read_video_panoptic_truth

from .annotations import CATEGORIES, HEIGHT, WIDTH
from .byte_mutations import mutate_bytes
from .invariants import check_categories, check_integer, check_text, require
from .json_mutations import mutate_json
from .reader import Reader, Sample

__all__ = ["VIDEO_MAP_READERS"]

NAMES = ("first", "2")


def _vipseg() -> dict[str, Any]:
    segments = [{"id": 1, "category_id": 1, "iscrowd": 0, "area": 9}, {"id": 70000, "category_id": 9}]
    images = [{"id": str(t), "width": WIDTH, "height": HEIGHT, "file_name": f"{t}.jpg"} for t in range(2)]
    frames = [{"image_id": str(t), "file_name": f"{t}.png", "segments_info": segments} for t in range(2)]
    return {
        "videos": [{"video_id": name, "images": images} for name in NAMES],
        "annotations": [{"video_id": name, "annotations": frames} for name in NAMES],
        "categories": CATEGORIES,
    }


def _json_samples(folder: Path) -> Sequence[Sample]:
    (folder / "truth.json").write_text(json.dumps(_vipseg()), encoding="utf-8")
    return [Sample(".json", json.dumps(_vipseg()).encode())]


def _check_segments(segments: Sequence[Any], known: Any) -> None:
    ids = [segment.id for segment in segments]
    require(len(set(ids)) == len(ids) and all(0 < i < 1 << 24 for i in ids), f"segment ids {ids}")
    require(all(segment.category_id in known for segment in segments), "unknown category")


def _read_vipseg(path: Path) -> None:
    dataset = read_vipseg(path)
    check_categories(dataset)
    require(len({video.id for video in dataset.videos}) == len(dataset.videos), "video ids are doubled")
    for video in dataset.videos:
        check_text(video.id, "video id")
        for frame in video.frames:
            check_text(frame.file_name, "file name")
            check_integer(frame.height, "height", 1)
            check_integer(frame.width, "width", 1)
            require(frame.height * frame.width <= 100_000_000, f"{frame.height} x {frame.width} pixels")
            _check_segments(frame.segments, dataset.contiguous_ids)
            require((frame.png_name is not None) == dataset.has_annotations, "a frame without its PNG's name")


def _read_truth(path: Path) -> None:
    truth = read_video_panoptic_truth(path)
    check_categories(truth)
    for video in truth.videos:
        check_text(video.name, "video")
        for frame in video.frames:
            check_text(frame.png_name, "name of the PNG")
            _check_segments(frame.segments, truth.contiguous_ids)


def _read_results(path: Path) -> None:
    truth = read_video_panoptic_truth(path.parent / "truth.json")
    results = read_video_panoptic_results(path, truth)
    require(set(results) == set(NAMES), "videos and results differ")
    for video in truth.videos:
        found = results[video.name]
        require([f.png_name for f in found.frames] == [f.png_name for f in video.frames], "frames differ")
        for frame in found.frames:
            _check_segments(frame.segments, truth.contiguous_ids)


def _list_samples(folder: Path) -> Sequence[Sample]:
    for name in NAMES:
        for kind in ("origin", "mask"):
            (folder / "data" / name / kind).mkdir(parents=True)
        Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(folder / "data" / name / "origin" / "0.jpg")
        write_label_map(folder / "data" / name / "mask" / "0.png", np.ones((HEIGHT, WIDTH), np.int32))
    return [Sample(".txt", "\n".join(NAMES).encode()), Sample(".txt", b"\xef\xbb\xbf2\r\nfirst\r\n\r\n")]


def _read_vspw(path: Path) -> None:
    dataset = read_vspw(path.parent, path.stem)
    require(dataset.videos and {video.id for video in dataset.videos} <= set(NAMES), "videos that are not there")
    require(len({video.id for video in dataset.videos}) == len(dataset.videos), "a video twice")
    for video in dataset.videos:
        require(dataset.labels(video.frames[0]).shape == (HEIGHT, WIDTH), "label map of another size")


def _read_split(path: Path) -> None:
    videos = label_videos(path.parent / "data", path)
    require({video.name for video in videos} <= set(NAMES) and videos, "videos that are not there")


def _of_json(name: str, read: Callable[[Path], None]) -> Reader:
    return Reader(name, _json_samples, mutate_json, read)


VIDEO_MAP_READERS: Sequence[Reader] = (
    _of_json("vipseg", _read_vipseg),
    _of_json("video_panoptic", _read_truth),
    _of_json("video_panoptic_results", _read_results),
    Reader("vspw_list", _list_samples, mutate_bytes, _read_vspw),
    Reader("label_videos", _list_samples, mutate_bytes, _read_split),
)
