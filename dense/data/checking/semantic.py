"""Label maps: folders of pictures and maps, and VSPW. Values, sizes, pairs, what is labelled at all."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dense.data.checking.pictures import PictureJob, check_pictures, in_threads, picture_or_blank
from dense.data.checking.report import CheckReport, Frame, FrameKey, Picture, enlarged
from dense.data.checking.targets import Target
from dense.data.formats.category_table import Category
from dense.data.formats.faults import Fault, FaultLog
from dense.data.formats.image_files import picture_size
from dense.data.formats.png_ids import read_label_map
from dense.data.formats.semantic_maps import check_labels, read_semantic_folders
from dense.data.formats.vspw import IGNORE_LABEL, mask_labels, read_vspw
from dense.errors import ConfigError, DataError

__all__ = ["check_semantic", "check_vspw"]


@dataclass(frozen=True)
class _Map:
    """One label map: position in messages, owner and frame, picture, file."""

    position: str
    key: FrameKey
    picture: Path
    path: Path


@dataclass(frozen=True)
class _Found:
    """One label map as read: (height, width), values with their number of pixels, faults as (kind, message)."""

    size: tuple[int, int]
    pixels: dict[int, int]
    faults: list[tuple[str, str]]


def check_semantic(target: Target, workers: int) -> CheckReport:
    """Check folders of pictures and label maps. Raises: DataError without folders; ConfigError without names of the classes."""
    source = target.semantic
    if source is None:
        raise ConfigError(f"{target.source}: label maps need names. Write IMAGES:LABELS:NAMES.json, or a registered name.")
    report = CheckReport(target.source, target.format, FaultLog(target.source))
    dataset = read_semantic_folders(
        source.image_root,
        source.label_root,
        source.category_names,
        image_suffix=source.image_suffix,
        label_suffix=source.label_suffix,
        faults=report.log,
    )
    report.set_categories(Category(k, name) for k, name in enumerate(dataset.category_names))
    maps = [_Map(r.name, (r.name, 0), r.image_path, r.label_path) for r in dataset.images]
    report.counts = {"images": len(maps)}
    _check_maps(maps, report, target, workers, lambda values: values)
    report.owner_of = lambda fault: (fault.position, 0)
    return report


def check_vspw(target: Target, workers: int) -> CheckReport:
    """Check the videos of a VSPW list. Raises: DataError if the list cannot be read."""
    listed = Path(target.source)
    report = CheckReport(target.source, target.format, FaultLog(target.source))
    dataset = read_vspw(listed.parent, listed.stem, faults=report.log)
    report.set_categories(dataset.categories)
    report.lengths = [video.length for video in dataset.videos]
    frames = [(video, t, frame) for video in dataset.videos for t, frame in enumerate(video.frames)]
    maps = [_Map(f"{v.id}/{f.name}", (v.id, t), f.image_path, f.label_path) for v, t, f in frames if f.label_path]
    report.counts = {"videos": len(dataset.videos), "frames": len(frames), "label maps": len(maps)}
    if dataset.videos and not dataset.has_annotations:
        report.warn_unannotated()
    _check_maps(maps, report, target, workers, mask_labels)
    places = {f"{video.id}/{frame.name}": (video.id, t) for video, t, frame in frames}
    report.owner_of = lambda fault: _owner(fault, places)
    return report


def _owner(fault: Fault, places: dict[str, FrameKey]) -> FrameKey | None:
    return places.get(fault.position)


def _check_maps(
    maps: Sequence[_Map],
    report: CheckReport,
    target: Target,
    workers: int,
    meaning: Callable[[NDArray[np.int32]], NDArray[np.integer]],
) -> None:
    """Read every label map (``meaning``: from its values to class indices), then look at the pictures."""
    classes = len(report.categories)
    sizes: dict[str, set[tuple[int, int]]] = {}
    for job, found in in_threads(lambda job: _read(job, classes, meaning), maps, workers):
        _count(job, found, report)
        if found.pixels:
            sizes.setdefault(job.key[0], set()).add(found.size)
    for owner, seen in sizes.items():
        report.sizes.update(f"{width}x{height}" for height, width in seen)
        if len(seen) > 1:
            what = f"{target.source}: video {owner}: frames have {len(seen)} sizes; training takes the same crop from all."
            report.log.warn("sizes differ in video", what, owner, owner)
    if maps:
        report.warn_unused()
    if target.check_pictures:
        check_pictures(_pictures(maps), report.log, workers, target.decode)
    names = [row.name for row in report.categories.values()]
    report.frames = [Frame(job.key, partial(_draw, job, meaning, names)) for job in maps]


def _count(job: _Map, found: _Found, report: CheckReport) -> None:
    """Note the faults of one map, and count its pixels."""
    for kind, message in found.faults:
        report.log.error(kind, message, job.position, job.key[0])
    labelled = {value: n for value, n in found.pixels.items() if value != IGNORE_LABEL}
    for value, pixels in labelled.items():
        if value in report.categories:
            report.count(value, job.key[0], pixels)
    if found.pixels and not labelled:
        report.log.warn("nothing labelled", f"{job.path}: has no labelled pixel.", job.position, job.key[0])


def _pictures(maps: Iterable[_Map]) -> Iterable[PictureJob]:
    return (PictureJob(job.position, job.key[0], job.position, job.picture, None) for job in maps)


def _read(job: _Map, classes: int, meaning: Callable[[NDArray[np.int32]], NDArray[np.integer]]) -> _Found:
    try:
        labels = meaning(read_label_map(job.path)).astype(np.int32)
    except DataError as error:
        return _Found((0, 0), {}, [("broken PNG" if job.path.is_file() else "missing PNG", str(error))])
    height, width = labels.shape
    faults = []
    try:
        check_labels(labels, classes, IGNORE_LABEL, str(job.path))
    except DataError as error:
        faults.append(("label", str(error)))
    try:
        size = picture_size(job.picture)
    except DataError:
        size = (width, height)  # reported with the pictures
    if size != (width, height):
        what = f"label map is {width}x{height} (width x height), its picture {job.picture.name} is {size[0]}x{size[1]}."
        faults.append(("PNG size", f"{job.path}: {what}"))
    values, counts = np.unique(labels, return_counts=True)
    return _Found((height, width), dict(zip(values.tolist(), counts.tolist(), strict=True)), faults)


def _draw(job: _Map, meaning: Callable[[NDArray[np.int32]], NDArray[np.integer]], names: Sequence[str]) -> Picture:
    from dense.visualization.maps import draw_semantic

    try:
        labels = meaning(read_label_map(job.path))
    except DataError:
        return enlarged(picture_or_blank(job.picture, picture_size(job.picture)[::-1]))
    picture = picture_or_blank(job.picture, (labels.shape[0], labels.shape[1]))
    return draw_semantic(enlarged(picture), enlarged(labels), names, ignore_label=IGNORE_LABEL)
