"""Objects: COCO instances and YouTube-VIS. Boxes, masks and areas against each other, objects twice, images without any."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dense.data.checking.pictures import PictureJob, check_pictures, picture_or_blank
from dense.data.checking.report import CheckReport, Frame, FrameKey, Picture, enlarged
from dense.data.checking.targets import Target, mapping_at, numbered_at
from dense.data.formats.category_table import CategoryTable
from dense.data.formats.coco import ImageDataset, ImageObject, ImageRecord, parse_coco
from dense.data.formats.faults import Fault, FaultLog
from dense.data.formats.youtube_vis import ObjectTrack, VideoDataset, VideoRecord, parse_youtube_vis
from dense.structures import rle as rle_codec
from dense.structures.rle import RLE

__all__ = ["check_coco", "check_youtube_vis"]

_BOX_SLACK, _AREA_SLACK = 3.0, 16.0  # pixels that an outline may be off by
_BOX_SHARE, _AREA_SHARE = 0.1, 0.2  # the same as a share, for polygons of big objects


def check_coco(target: Target, data: Any, workers: int) -> CheckReport:  # noqa: ANN401  JSON
    """Check a COCO instances file: ``data`` is what it holds. Raises: DataError for data of quite another kind."""
    report = CheckReport(target.source, target.format, FaultLog(target.source))
    dataset = parse_coco(data, target.source, target.pictures, masks=False, faults=report.log)
    report.set_categories(dataset.categories)
    positions = _positions(data, "annotations", twice=False)
    listed = _positions(data, "images")
    used = _owners(data, "image_id")
    for image in dataset.images:
        report.sizes[f"{image.width}x{image.height}"] += 1
        for item in image.objects:
            if item.id in positions:
                _check_object(item, image, positions[item.id], report.log)
            report.count(item.category_id, image.id, item.area)
        _warn_twice(image, positions, report.log)
        if dataset.has_annotations and image.id not in used:
            report.log.warn(
                "image without objects", f"{target.source}: image {image.id} has no object.", listed[image.id], image.id
            )
    _warn_files_twice([(image.file_name, listed[image.id], image.id) for image in dataset.images], report.log)
    report.counts = {"images": len(dataset.images), "objects": sum(len(image.objects) for image in dataset.images)}
    if dataset.has_annotations:
        report.warn_unused()
    else:
        report.warn_unannotated()
    if target.check_pictures:
        jobs = [
            PictureJob(listed[i.id], str(i.id), f"image {i.id}", dataset.image_path(i), (i.width, i.height))
            for i in dataset.images
        ]
        check_pictures(jobs, report.log, workers, target.decode)
    report.frames = [Frame((str(image.id), 0), partial(_draw, dataset, image)) for image in dataset.images]
    report.owner_of = lambda fault: _owner(fault, data, "image_id")
    return report


def check_youtube_vis(target: Target, data: Any, workers: int) -> CheckReport:  # noqa: ANN401  JSON
    """Check a YouTube-VIS or OVIS file: ``data`` is what it holds. Raises: DataError for data of quite another kind."""
    report = CheckReport(target.source, target.format, FaultLog(target.source))
    dataset = parse_youtube_vis(data, target.source, target.pictures, report.log)
    report.set_categories(dataset.categories)
    positions = _positions(data, "annotations", twice=False)
    listed = _positions(data, "videos")
    used = _owners(data, "video_id")
    for video in dataset.videos:
        report.sizes[f"{video.width}x{video.height}"] += 1
        report.lengths.append(video.length)
        for track in video.tracks:
            if track.id in positions:
                _check_track(track, mapping_at(data, positions[track.id]), video, positions[track.id], report.log)
            report.count(track.category_id, video.id, sum(area or 0 for area in track.areas))
        if dataset.has_annotations and video.id not in used:
            what = f"{target.source}: video {video.id} has no object."
            report.log.warn("video without objects", what, listed[video.id], video.id)
    names = [(n, f"{listed[v.id]}.file_names[{t}]", v.id) for v in dataset.videos for t, n in enumerate(v.file_names)]
    _warn_files_twice(names, report.log)
    report.counts = {
        "videos": len(dataset.videos),
        "frames": len(names),
        "objects": sum(len(video.tracks) for video in dataset.videos),
        "masks": sum(mask is not None for v in dataset.videos for track in v.tracks for mask in track.segmentations),
    }
    if dataset.has_annotations:
        report.warn_unused()
    else:
        report.warn_unannotated()
    if target.check_pictures:
        check_pictures(_video_pictures(dataset, listed), report.log, workers, target.decode)
    report.frames = [
        Frame((str(video.id), t), partial(_draw_frame, dataset, video, t))
        for video in dataset.videos
        for t in range(video.length)
    ]
    report.owner_of = lambda fault: _owner(fault, data, "video_id")
    return report


def _positions(data: dict[str, Any], field: str, *, twice: bool = True) -> dict[int, str]:
    """Id → JSON path of the first record with it; without ids of several records unless ``twice``."""
    found: dict[int, list[str]] = {}
    for index, record in numbered_at(data, field):
        if isinstance(record.get("id"), int | float):
            found.setdefault(record["id"], []).append(f"{field}[{index}]")
    return {identity: places[0] for identity, places in found.items() if twice or len(places) == 1}


def _owners(data: dict[str, Any], reference: str) -> set[object]:
    """Ids of the images or videos that some annotation, sound or not, belongs to."""
    records = numbered_at(data, "annotations")
    return {record[reference] for _, record in records if isinstance(record.get(reference), int | float)}


def _check_object(item: ImageObject, image: ImageRecord, position: str, log: FaultLog) -> None:
    where = f"{log.file}: {position} (id {item.id})"
    x, y, width, height = item.box
    if x < -1 or y < -1 or x + width > image.width + 1 or y + height > image.height + 1:
        what = f"box {[x, y, width, height]} reaches beyond the picture of {image.width}x{image.height}."
        log.warn("box beyond picture", f"{where}: {what}", f"{position}.bbox", item.id)
    if item.segmentation is None:
        log.warn("object without mask", f"{where}: has a box, but no mask.", f"{position}.segmentation", item.id)
    else:
        _check_mask(item.segmentation, list(item.box), item.area, where, (f"{position}.bbox", f"{position}.area"), log)


def _check_mask(
    mask: RLE, box: Sequence[float] | None, area: float | None, where: str, positions: tuple[str, str], log: FaultLog
) -> None:
    """Compare a mask with the box and the area that are stated for it; ``positions``: their JSON paths."""
    counted = rle_codec.area(mask)
    if not counted:
        log.warn("empty mask", f"{where}: the mask has no pixel.")
        return
    if area is not None and abs(area - counted) > max(_AREA_SLACK, _AREA_SHARE * counted):
        log.warn("area does not fit mask", f"{where}: area is {area:g}, but the mask has {counted} pixels.", positions[1])
    around = rle_codec.bounding_box(mask)
    if box is not None and _far(box, around):
        stated, found = ([round(v, 1) for v in values] for values in (box, around))
        log.warn("box does not fit mask", f"{where}: box is {stated}, but the mask lies in {found}.", positions[0])


def _far(box: Sequence[float], around: Sequence[float]) -> bool:
    """Whether an edge of a box is away from that of the mask."""
    for start, size in ((0, 2), (1, 3)):
        slack = max(_BOX_SLACK, _BOX_SHARE * around[size])
        ends = (box[start] - around[start], box[start] + box[size] - around[start] - around[size])
        if max(map(abs, ends)) > slack:
            return True
    return False


def _warn_twice(image: ImageRecord, positions: dict[int, str], log: FaultLog) -> None:
    """Warn of objects of one image that are the same in all but their id."""
    seen: dict[tuple[Any, ...], int] = {}
    for item in image.objects:
        same = (item.category_id, item.box, item.segmentation["counts"] if item.segmentation else None)
        first = seen.setdefault(same, item.id)
        if first != item.id and item.id in positions:
            what = f"{log.file}: {positions[item.id]} (id {item.id}): is the same object as annotation {first}."
            log.warn("object listed twice", what)


def _warn_files_twice(files: list[tuple[str, str, int]], log: FaultLog) -> None:
    """Warn of file names that several images or frames have; each with its JSON path and the id of its record."""
    counts = Counter(name for name, _, _ in files)
    for name, position, record in files if len(counts) < len(files) else ():
        if counts[name] > 1:
            log.warn("file listed twice", f"{log.file}: {position} (id {record}): {name} is listed {counts[name]} times.")


def _check_track(track: ObjectTrack, raw: dict[str, Any], video: VideoRecord, position: str, log: FaultLog) -> None:
    where = f"{log.file}: {position} (id {track.id})"
    boxes = raw.get("bboxes") or [None] * video.length
    if all(mask is None for mask in track.segmentations):
        log.warn("object never visible", f"{where}: has no mask in any of {video.length} frames.")
    for t, (mask, box) in enumerate(zip(track.segmentations, boxes, strict=True)):
        stated = raw["segmentations"][t]
        if raw.get("bboxes") and (stated in (None, [])) != (box is None):
            which = "a mask but no box" if box is None else "a box but no mask"
            log.warn("box without mask", f"{where}.segmentations[{t}]: the frame has {which}; it counts as not visible.")
        if mask is not None:
            places = (f"{position}.bboxes[{t}]", f"{position}.areas[{t}]")
            _check_mask(mask, box, track.areas[t], f"{where}.segmentations[{t}]", places, log)


def _video_pictures(dataset: VideoDataset, listed: dict[int, str]) -> Iterator[PictureJob]:
    for video in dataset.videos:
        for t, path in enumerate(dataset.frame_paths(video)):
            position, what = f"{listed[video.id]}.file_names[{t}]", f"frame {t} of video {video.id}"
            yield PictureJob(position, str(video.id), what, path, (video.width, video.height))


def _owner(fault: Fault, data: dict[str, Any], reference: str) -> FrameKey | None:
    """The frame that a fault of an instances file is in."""
    head, _, rest = fault.position.partition("]")
    field = head.partition("[")[0]
    if field not in ("annotations", "images", "videos") or "[" not in head:
        return None
    record = mapping_at(data, f"{head}]")
    owner = record.get(reference if field == "annotations" else "id")
    frame = rest.rpartition("[")[2].rstrip("]") if field == "videos" or reference == "video_id" else ""
    return (str(owner), int(frame) if frame.isdigit() else 0)


def _draw(dataset: ImageDataset, image: ImageRecord) -> Picture:
    from dense.visualization.overlay import draw_tracks

    picture = picture_or_blank(dataset.image_path(image), (image.height, image.width))
    names = [_name(dataset, item.category_id) for item in image.objects]
    masks = [_shown(item.segmentation) for item in image.objects]
    return draw_tracks(enlarged(picture), masks, [item.id for item in image.objects], names)


def _draw_frame(dataset: VideoDataset, video: VideoRecord, t: int) -> Picture:
    from dense.visualization.overlay import draw_tracks

    picture = picture_or_blank(dataset.frame_paths(video)[t], (video.height, video.width))
    names = [_name(dataset, track.category_id) for track in video.tracks]
    masks = [_shown(track.segmentations[t]) for track in video.tracks]
    return draw_tracks(enlarged(picture), masks, [track.id for track in video.tracks], names)


def _shown(mask: RLE | None) -> NDArray[np.bool_] | None:
    return None if mask is None else enlarged(rle_codec.decode(mask))


def _name(dataset: CategoryTable, category_id: int) -> str:
    return next((category.name for category in dataset.categories if category.id == category_id), f"category {category_id}")
