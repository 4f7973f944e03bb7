"""Panoptic maps: COCO panoptic and VIPSeg. The PNG of each image or frame against what the JSON file lists."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dense.data.checking.pictures import PictureJob, check_pictures, in_threads, picture_or_blank
from dense.data.checking.report import CheckReport, Frame, FrameKey, Picture, enlarged
from dense.data.checking.targets import Target, mapping_at, numbered_at
from dense.data.formats.category_table import CategoryTable
from dense.data.formats.coco_panoptic import VOID_ID, SegmentInfo, check_segment_ids, parse_panoptic
from dense.data.formats.faults import Fault, FaultLog
from dense.data.formats.png_ids import read_id_map
from dense.data.formats.vipseg import PanopticVideo, parse_vipseg
from dense.errors import DataError
from dense.structures import Segment

__all__ = ["check_panoptic", "check_vipseg"]

_AREA_SHARE = 0.01  # areas of segments are exact, but for files that were scaled


@dataclass(frozen=True)
class _Map:
    """One PNG: JSON path of its annotation, record, owner (image or video), file, (height, width), segments, picture."""

    position: str
    record: str
    key: FrameKey
    path: Path
    size: tuple[int, int]
    segments: tuple[SegmentInfo, ...]
    picture: Path


def check_panoptic(target: Target, data: Any, workers: int) -> CheckReport:  # noqa: ANN401  JSON
    """Check a COCO panoptic file with its PNGs. Raises: DataError for data of quite another kind."""
    report = CheckReport(target.source, target.format, FaultLog(target.source))
    dataset = parse_panoptic(data, target.source, target.maps, target.pictures, report.log)
    report.set_categories(dataset.categories)
    places = {str(r.get("image_id")): f"annotations[{k}]" for k, r in _records(data, "annotations")}
    listed = {str(r.get("id")): f"images[{k}]" for k, r in _records(data, "images")}
    maps = [
        _Map(
            places[str(image.id)],
            str(image.id),
            (str(image.id), 0),
            dataset.png_root / image.png_name,
            (image.height, image.width),
            image.segments,
            dataset.image_path(image),
        )
        for image in dataset.images
    ]
    for image in dataset.images:
        report.sizes[f"{image.width}x{image.height}"] += 1
    for name in sorted(listed.keys() - places.keys()):
        report.log.warn("image without segments", f"{target.source}: image {name} has no annotation.", listed[name], name)
    report.counts = {"images": len(maps), "segments": sum(len(image.segments) for image in dataset.images)}
    _check_maps(maps, report, workers)
    if target.check_pictures:
        jobs = (
            PictureJob(listed[str(i.id)], str(i.id), f"image {i.id}", dataset.image_path(i), (i.width, i.height))
            for i in dataset.images
        )
        check_pictures(jobs, report.log, workers, target.decode)
    _finish(report, maps, dataset)
    report.owner_of = lambda fault: _image_owner(fault, data)
    return report


def check_vipseg(target: Target, data: Any, workers: int) -> CheckReport:  # noqa: ANN401  JSON
    """Check a VIPSeg file with its PNGs. Raises: DataError for data of quite another kind."""
    report = CheckReport(target.source, target.format, FaultLog(target.source))
    dataset = parse_vipseg(data, target.source, target.maps, target.pictures, report.log)
    report.set_categories(dataset.categories)
    listed = {str(r.get("video_id")): f"videos[{k}]" for k, r in _records(data, "videos")}
    annotated = {str(r.get("video_id")): (f"annotations[{k}]", r) for k, r in _records(data, "annotations")}
    maps, jobs = [], []
    for video in dataset.videos:
        place, record = annotated.get(video.id, ("", {}))
        inner = {str(r.get("image_id")): f"{place}.annotations[{k}]" for k, r in _records(record, "annotations")}
        sizes = {(frame.width, frame.height) for frame in video.frames}
        report.sizes.update({f"{w}x{h}" for w, h in sizes})
        report.lengths.append(video.length)
        _check_video(video, listed[video.id], sizes, report.log)
        positions = {str(r.get("id")): k for k, r in _records(mapping_at(data, listed[video.id]), "images")}
        for t, frame in enumerate(video.frames):
            position = f"{listed[video.id]}.images[{positions[frame.id]}]"
            size = (frame.width, frame.height)
            what = f"frame {t} of video {video.id}"
            jobs.append(PictureJob(position, f"{video.id}/{frame.id}", what, dataset.frame_path(video, t), size))
            if frame.png_name:
                path, picture = dataset.png_path(video, t), dataset.frame_path(video, t)
                where, key = inner[frame.id], (video.id, positions[frame.id])
                maps.append(_Map(where, f"{video.id}/{frame.id}", key, path, size[::-1], frame.segments, picture))
    report.counts = {"videos": len(dataset.videos), "frames": len(jobs), "segments": sum(len(m.segments) for m in maps)}
    if not dataset.has_annotations:
        report.warn_unannotated()
    _check_maps(maps, report, workers)
    if target.check_pictures:
        check_pictures(jobs, report.log, workers, target.decode)
    _finish(report, maps, dataset)
    report.owner_of = lambda fault: _frame_owner(fault, data)
    return report


def _records(data: Any, field: str) -> list[tuple[int, dict[str, Any]]]:  # noqa: ANN401  JSON
    """As ``numbered_at``, the first of those with one id last, so that it stays in a dict."""
    return numbered_at(data, field)[::-1]


def _check_maps(maps: Iterable[_Map], report: CheckReport, workers: int) -> None:
    """Read every PNG, compare ids and areas, count pixels."""
    for job, found in in_threads(_count_pixels, maps, workers):
        if isinstance(found, DataError):
            report.log.error(_png_kind(job.path, found), str(found), job.position, job.record)
            continue
        check_segment_ids(set(found) - {VOID_ID}, {s.id for s in job.segments}, job.path, report.log, job.position)
        if not any(found.get(segment.id) for segment in job.segments):
            report.log.warn("nothing labelled", f"{job.path}: has no labelled pixel.", job.position, job.record)
        for k, segment in enumerate(job.segments):
            pixels = found.get(segment.id, 0)
            report.count(segment.category_id, job.key[0], pixels)
            if pixels and segment.area is not None and abs(segment.area - pixels) > _AREA_SHARE * pixels:
                what = f"area of segment {segment.id} is {segment.area:g}, but the PNG has {pixels} pixels of it."
                position = f"{job.position}.segments_info[{k}].area"
                report.log.warn("area does not fit mask", f"{job.path}: {what}", position, f"{job.record}/{segment.id}")


def _count_pixels(job: _Map) -> dict[int, int] | DataError:
    """Pixels of each id of a PNG, or what is wrong with it."""
    try:
        ids, counts = np.unique(read_id_map(job.path, job.size), return_counts=True)
    except DataError as error:
        return error
    return dict(zip(ids.tolist(), counts.tolist(), strict=True))


def _png_kind(path: Path, error: DataError) -> str:
    if not path.is_file():
        return "missing PNG"
    return "PNG size" if "picture is" in str(error) else "broken PNG"


def _check_video(video: PanopticVideo, position: str, sizes: set[tuple[int, int]], log: FaultLog) -> None:
    where = f"{log.file}: {position} (video {video.id})"
    if len(sizes) > 1:
        log.warn("sizes differ in video", f"{where}: frames have {len(sizes)} sizes; training takes the same crop from all.")
    categories: dict[int, int] = {}
    for t, frame in enumerate(video.frames):
        for segment in frame.segments:
            first = categories.setdefault(segment.id, segment.category_id)
            if first != segment.category_id:
                what = f"segment {segment.id} has category {segment.category_id} in frame {t}, {first} before."
                log.warn("segment changes category", f"{where}.images[{t}]: {what}")
    if any(frame.png_name for frame in video.frames) and not categories:
        log.warn("video without segments", f"{where}: no frame has a segment.")


def _finish(report: CheckReport, maps: list[_Map], dataset: CategoryTable) -> None:
    if maps:
        report.warn_unused()
    report.frames = [Frame(job.key, partial(_draw, job, dataset)) for job in maps]


def _image_owner(fault: Fault, data: Any) -> FrameKey | None:  # noqa: ANN401  JSON
    head = fault.position.partition("]")[0]
    record = mapping_at(data, f"{head}]") if "[" in head else {}
    owner = record.get("image_id" if head.startswith("annotations") else "id")
    return None if owner is None else (str(owner), 0)


def _frame_owner(fault: Fault, data: Any) -> FrameKey | None:  # noqa: ANN401  JSON
    """The frame that a fault of a VIPSeg file is in, numbered by its place in the video's ``images``."""
    head, _, rest = fault.position.partition("]")
    record = mapping_at(data, f"{head}]") if "[" in head else {}
    if "video_id" not in record:
        return None
    video, index = str(record["video_id"]), rest.partition("[")[2].partition("]")[0]
    if not index.isdigit():
        return (video, 0)
    if head.startswith("videos"):
        return (video, int(index))
    image = mapping_at(record, f"annotations[{index}]").get("image_id")
    videos = [r for _, r in _records(data, "videos") if str(r.get("video_id")) == video]
    places = [k for r in videos for k, entry in _records(r, "images") if str(entry.get("id")) == str(image)]
    return (video, places[0] if places else 0)


def _draw(job: _Map, dataset: CategoryTable) -> Picture:
    from dense.visualization.maps import draw_panoptic

    picture = enlarged(picture_or_blank(job.picture, job.size))
    ranks, things = dataset.contiguous_ids, dataset.things
    segments = [Segment(s.id, ranks.get(s.category_id, -1), ranks.get(s.category_id) in things, 0) for s in job.segments]
    try:
        return draw_panoptic(picture, enlarged(read_id_map(job.path, job.size)), segments, dataset.category_names)
    except DataError:
        return picture
