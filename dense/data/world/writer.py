"""The world on disk in the YouTube-VIS layout: ``{train,valid}/JPEGImages/<video>/<frame>.jpg`` and two JSON files."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dense.data.world.categories import THINGS
from dense.data.world.folder import WorldFolder
from dense.data.world.jobs import Progress, run_jobs
from dense.data.world.parameters import VALID_OFFSET, WorldParameters, check_integer
from dense.data.world.pictures import write_jpeg
from dense.io import read_json, write_json

__all__ = ["PREVIEWS", "WorldReport", "make_video_world", "video_name", "write_video_world"]

PREVIEWS = ("preview.mp4", "preview.png")  # beside the data, drawn by the command line
_SPLITS = ("train", "valid")


@dataclass(frozen=True)
class WorldReport:
    """What ``make_video_world`` did: ``instances`` counts both splits; ``kept`` = the output was already there."""

    output: Path
    train_videos: int
    valid_videos: int
    frames: int
    instances: int
    seconds: float
    kept: bool


@dataclass(frozen=True)
class _Job:
    """One video to render: where to, and which."""

    folder: str
    index: int
    parameters: WorldParameters


def make_video_world(
    output: str | os.PathLike[str],
    seed: int = 0,
    train_videos: int = 60,
    valid_videos: int = 12,
    frames: int = 24,
    size: tuple[int, int] = (192, 320),
    workers: int = 2,
    progress: Progress | None = None,
    frame_step: int = 1,
    overwrite: bool = False,
) -> WorldReport:
    """Render a train and a valid split with exact ground truth (both have it) in the YouTube-VIS layout.

    The bytes depend on everything but ``output``, ``workers``, ``progress`` and ``overwrite``. The JSON files are written
    last, so a run that was cut off leaves none; running it again completes the folder. Complete output with the same
    parameters is kept.

    Args:
        output: folder; made if missing. A folder with data that is not the world's is never touched.
        seed: seed of the world, >= 0.
        train_videos: videos of the train split.
        valid_videos: videos of the valid split.
        frames: frames per video T.
        size: (height, width) in pixels, each at least 32.
        workers: processes; above 1, a script that calls this needs the ``if __name__ == "__main__":`` guard.
        progress: called as ``progress(videos done, videos in all)`` in this process.
        frame_step: moments between frames; 8 frames with step 6 cover as much motion as 48 frames with step 1.
        overwrite: replace a world with other parameters.

    Raises: DataError for parameters out of range, another data set in ``output``, a folder that cannot be written.
    """
    parameters = WorldParameters(seed, train_videos, valid_videos, frames, *size, frame_step)
    return write_video_world(output, parameters, workers, progress, overwrite=overwrite)


def write_video_world(
    output: str | os.PathLike[str],
    parameters: WorldParameters,
    workers: int = 2,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> WorldReport:
    """As :func:`make_video_world`, with all there is to choose in ``parameters``."""
    started = time.monotonic()
    parameters.check()
    check_integer("workers", workers, 1)
    root = Path(output)
    folder = WorldFolder(root, parameters.as_json(), tuple(f"{split}.json" for split in _SPLITS), _SPLITS, PREVIEWS)
    instances = _existing_instances(folder, overwrite)
    kept = instances is not None
    if instances is None:
        folder.clear()
        instances = _render_all(root, parameters, workers, progress)
    p, seconds = parameters, time.monotonic() - started
    return WorldReport(root, p.train_videos, p.valid_videos, p.frames, instances, seconds, kept)


def video_name(index: int) -> str:
    """Folder of the video with a global index, for instance ``v000003``; validation videos start at ``VALID_OFFSET``."""
    return f"v{index % VALID_OFFSET:06d}"


def _existing_instances(folder: WorldFolder, overwrite: bool) -> int | None:
    """Number of instances if the folder holds exactly this world, ``None`` if it must be rendered.

    Raises: DataError if something else is there.
    """
    if not folder.is_complete(overwrite):
        return None
    contents = [read_json(folder.root / name) for name in folder.jsons]
    for split, content in zip(_SPLITS, contents, strict=True):
        if not all((folder.root / split / "JPEGImages" / f).is_file() for v in content["videos"] for f in v["file_names"]):
            return None
    return sum(len(content["annotations"]) for content in contents)


def _render_all(root: Path, parameters: WorldParameters, workers: int, progress: Progress | None) -> int:
    numbers = [range(parameters.train_videos), range(VALID_OFFSET, VALID_OFFSET + parameters.valid_videos)]
    jobs = [_Job(str(root / s / "JPEGImages"), i, parameters) for s, n in zip(_SPLITS, numbers, strict=True) for i in n]
    tracks = list(run_jobs(_render_job, jobs, workers, progress))
    first = parameters.train_videos
    contents = [_content(parameters, "train", tracks[:first]), _content(parameters, "valid", tracks[first:])]
    for split, content in zip(_SPLITS, contents, strict=True):
        write_json(root / f"{split}.json", content)
    return sum(len(content["annotations"]) for content in contents)


def _render_job(job: _Job) -> list[dict[str, Any]]:
    """Write the pictures of one video; return its annotations without ids."""
    from dense.data.world.render import render_video

    p = job.parameters
    video = render_video(p.seed, job.index, p.frames, (p.height, p.width), p.frame_step, p.crowded)
    folder = Path(job.folder) / video_name(job.index)
    for t, frame in enumerate(video.frames):
        write_jpeg(folder / f"{t:05d}.jpg", frame)
    return _annotations(video.categories, video.masks)


def _annotations(categories: tuple[str, ...], masks: Any) -> list[dict[str, Any]]:  # noqa: ANN401  (N, T, H, W) bool; numpy is not imported here
    """YouTube-VIS records of the things that show in at least one frame."""
    from dense.structures import rle

    records = []
    for category, track in zip(categories, masks, strict=True):
        shown = track.any((1, 2))
        if not shown.any():
            continue
        segmentations = [code if visible else None for code, visible in zip(rle.encode_stack(track), shown, strict=True)]
        records.append(
            {
                "category_id": THINGS.index(category) + 1,
                "iscrowd": 0,
                "height": int(track.shape[1]),
                "width": int(track.shape[2]),
                "length": len(track),
                "segmentations": segmentations,
                "bboxes": [None if code is None else rle.bounding_box(code) for code in segmentations],
                "areas": [None if code is None else rle.area(code) for code in segmentations],
            }
        )
    return records


def _content(parameters: WorldParameters, split: str, tracks: list[list[dict[str, Any]]]) -> dict[str, Any]:
    """One YouTube-VIS file; ids start at 1."""
    videos = []
    for number in range(len(tracks)):
        names = [f"{video_name(number)}/{t:05d}.jpg" for t in range(parameters.frames)]
        size = {"width": parameters.width, "height": parameters.height, "length": parameters.frames}
        videos.append({"id": number + 1, **size, "file_names": names})
    flat = [(number + 1, record) for number, records in enumerate(tracks) for record in records]
    return {
        "info": {"description": "procedural world", "split": split, **parameters.as_json()},
        "categories": [{"id": i + 1, "name": name, "supercategory": "thing"} for i, name in enumerate(THINGS)],
        "videos": videos,
        "annotations": [{"id": k + 1, "video_id": video, **record} for k, (video, record) in enumerate(flat)],
    }
