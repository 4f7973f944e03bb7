"""Videos of the world on disk with a label for every pixel: in the layout of VIPSeg (panoptic) or of VSPW (semantic).

VIPSeg: ``panoptic_gt_VIPSeg_{train,val}.json``, ``images/<video>/<frame>.jpg``, ``panomasksRGB/<video>/<frame>.png``. VSPW:
``{train,val}.txt``, ``data/<video>/{origin,mask}``, ``categories.json``. Category ids are those of the classes: things from 0,
then stuff. The videos are those of ``make_video_world``.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dense.data.world.categories import STUFF, THINGS, VOID
from dense.data.world.folder import WorldFolder
from dense.data.world.image_writer import label_map, segment_map
from dense.data.world.jobs import Progress, run_jobs
from dense.data.world.parameters import VALID_OFFSET, WorldParameters, check_integer
from dense.data.world.pictures import write_jpeg
from dense.data.world.writer import PREVIEWS, WorldReport
from dense.errors import DataError
from dense.io import atomic_write, read_json, write_json

if TYPE_CHECKING:
    from dense.data.world.render import RenderedVideo

__all__ = ["LAYOUTS", "make_map_world"]

_SPLITS = ("train", "val")
_COUNT = "world.json"  # the parameters, and how many regions were drawn


@dataclass(frozen=True)
class _Layout:
    """One layout: the files written last, the folders, how a video is written, how the files written last are."""

    lists: tuple[str, ...]
    folders: tuple[str, ...]
    write_video: Callable[["RenderedVideo", Path, str], list[dict[str, Any]]]
    write_lists: Callable[[Path, WorldParameters, str, list[tuple[str, list[dict[str, Any]]]]], None]


@dataclass(frozen=True)
class _Job:
    """One video to render: below which root, in which layout, under which name, and which."""

    root: str
    layout: str
    name: str
    index: int
    parameters: WorldParameters


def make_map_world(
    output: str | os.PathLike[str],
    layout: str,
    parameters: WorldParameters,
    workers: int = 2,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> WorldReport:
    """Render a train and a val split in the layout of VIPSeg or of VSPW, with exact ground truth.

    The bytes depend on ``layout`` and ``parameters``. The lists of videos are written last, so a run that was cut off leaves
    none; running it again completes the folder. Complete output with the same parameters is kept.

    Args:
        output: folder; made if missing. A folder with data that is not the world's is never touched.
        layout: ``vipseg`` or ``vspw``.
        parameters: number of videos, frames, size, seed; ``valid_videos`` make the val split.
        workers: processes; above 1, a script that calls this needs the ``if __name__ == "__main__":`` guard.
        progress: called as ``progress(videos done, videos in all)`` in this process.
        overwrite: replace a world with other parameters.

    Returns: ``instances`` counts the things and stuff regions of all frames.
    Raises: DataError for parameters out of range, another data set in ``output``, a folder that cannot be written.
    """
    started = time.monotonic()
    if layout not in LAYOUTS:
        raise DataError(f"world: layout is {layout!r}, expected one of {', '.join(LAYOUTS)}.")
    parameters.check()
    check_integer("workers", workers, 1)
    root, kind = Path(output), LAYOUTS[layout]
    state = {**parameters.as_json(), "layout": layout}
    folder = WorldFolder(root, state, (*kind.lists, _COUNT), kind.folders, PREVIEWS)
    kept = folder.is_complete(overwrite) and _files_present(root, parameters)
    if not kept:
        folder.clear()
        _render_all(root, layout, parameters, workers, progress)
    regions = int(read_json(root / _COUNT)["regions"])
    seconds = time.monotonic() - started
    return WorldReport(root, parameters.train_videos, parameters.valid_videos, parameters.frames, regions, seconds, kept)


def _files_present(root: Path, parameters: WorldParameters) -> bool:
    frames = (parameters.train_videos + parameters.valid_videos) * parameters.frames
    return all(sum(1 for _ in root.rglob(f"?????.{suffix}")) == frames for suffix in ("jpg", "png"))


def _render_all(root: Path, layout: str, parameters: WorldParameters, workers: int, progress: Progress | None) -> None:
    p = parameters
    numbers = {"train": range(p.train_videos), "val": range(VALID_OFFSET, VALID_OFFSET + p.valid_videos)}
    jobs = [
        _Job(str(root), layout, f"{split}_{index % VALID_OFFSET:06d}", index, parameters)
        for split in _SPLITS
        for index in numbers[split]
    ]
    written = list(run_jobs(_render_job, jobs, workers, progress))
    regions = sum(len(frame["segments_info"]) for frames in written for frame in frames)
    write_json(root / _COUNT, {"regions": regions, **parameters.as_json()})
    for split in _SPLITS:
        part = [(job.name, frames) for job, frames in zip(jobs, written, strict=True) if job.name.startswith(f"{split}_")]
        LAYOUTS[layout].write_lists(root, parameters, split, part)


def _render_job(job: _Job) -> list[dict[str, Any]]:
    from dense.data.world.render import render_video

    p = job.parameters
    video = render_video(p.seed, job.index, p.frames, (p.height, p.width), p.frame_step, p.crowded)
    return LAYOUTS[job.layout].write_video(video, Path(job.root), job.name)


def _regions(video: "RenderedVideo", t: int) -> list[tuple[int, int, Any]]:
    """Segment id, category id and mask of what shows in a frame; ids stay the same through a video, none is 0."""
    labels = label_map(video, t)
    things = [(k + 1, THINGS.index(c), m) for k, (c, m) in enumerate(zip(video.categories, video.masks[:, t], strict=True))]
    first = len(THINGS)
    stuff = [(len(things) + 1 + k, first + k, labels == first + k) for k in range(len(STUFF))]
    return [region for region in things + stuff if region[2].any()]


def _write_vipseg(video: "RenderedVideo", root: Path, name: str) -> list[dict[str, Any]]:
    """Pictures and PNGs of one video; returns its annotated frames."""
    from dense.data.formats.png_ids import write_id_map

    frames = []
    for t, image in enumerate(video.frames):
        ids, segments = segment_map(_regions(video, t), image.shape[:2])
        write_jpeg(root / "images" / name / f"{t:05d}.jpg", image)
        write_id_map(root / "panomasksRGB" / name / f"{t:05d}.png", ids)
        frames.append({"image_id": f"{t:05d}", "file_name": f"{t:05d}.png", "segments_info": segments})
    return frames


def _write_vspw(video: "RenderedVideo", root: Path, name: str) -> list[dict[str, Any]]:
    """Pictures and masks of one video; returns its frames for counting."""
    import numpy as np

    from dense.data.formats.png_ids import write_label_map

    frames = []
    for t, image in enumerate(video.frames):
        labels = label_map(video, t)
        write_jpeg(root / "data" / name / "origin" / f"{t:05d}.jpg", image)
        mask = np.where(labels == VOID, 0, labels.astype(np.int32) + 1)  # 0 = unlabelled
        write_label_map(root / "data" / name / "mask" / f"{t:05d}.png", mask)
        frames.append({"segments_info": [region[:2] for region in _regions(video, t)]})
    return frames


def _categories() -> list[dict[str, Any]]:
    return [{"id": k, "name": name, "isthing": int(k < len(THINGS))} for k, name in enumerate((*THINGS, *STUFF))]


def _list_vipseg(root: Path, parameters: WorldParameters, split: str, part: list[tuple[str, list[dict[str, Any]]]]) -> None:
    size = {"width": parameters.width, "height": parameters.height}
    videos = [
        {"video_id": name, "images": [{"id": f["image_id"], **size, "file_name": f"{f['image_id']}.jpg"} for f in frames]}
        for name, frames in part
    ]
    content = {
        "info": {"description": "procedural world, VIPSeg layout", "split": split, **parameters.as_json()},
        "videos": videos,
        "annotations": [{"video_id": name, "annotations": frames} for name, frames in part],
        "categories": _categories(),
    }
    write_json(root / f"panoptic_gt_VIPSeg_{split}.json", content)


def _list_vspw(root: Path, parameters: WorldParameters, split: str, part: list[tuple[str, list[dict[str, Any]]]]) -> None:
    write_json(root / "categories.json", _categories(), indent=1)
    with atomic_write(root / f"{split}.txt") as stream:
        stream.writelines(f"{name}\n" for name, _ in part)


LAYOUTS = {
    "vipseg": _Layout(
        ("panoptic_gt_VIPSeg_train.json", "panoptic_gt_VIPSeg_val.json"),
        ("images", "panomasksRGB"),
        _write_vipseg,
        _list_vipseg,
    ),
    "vspw": _Layout(("train.txt", "val.txt", "categories.json"), ("data",), _write_vspw, _list_vspw),
}
"""Layouts of ``make_map_world``."""
