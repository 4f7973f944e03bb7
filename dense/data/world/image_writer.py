"""Single pictures of the world on disk, in the layouts of COCO (instances, panoptic) and of semantic label maps.

``images/{train,valid}/<number>.jpg``, ``annotations/{instances,panoptic}_{train,valid}.json``, ``panoptic/{train,valid}`` (PNG
of segment ids), ``semantic/{train,valid}`` (PNG of class indices: things 0 to 13, then stuff). Category id = class index + 1.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dense.data.world.categories import STUFF, THINGS
from dense.data.world.folder import WorldFolder
from dense.data.world.jobs import Progress, run_jobs
from dense.data.world.parameters import JPEG_QUALITY, VALID_OFFSET, check_integer, check_video
from dense.data.world.pictures import write_jpeg
from dense.errors import DataError
from dense.io import read_json, write_json

if TYPE_CHECKING:
    from dense.data.world.render import RenderedVideo

__all__ = [
    "IMAGE_PREVIEW",
    "MOMENTS",
    "SPLITS",
    "ImageJob",
    "ImageWorldParameters",
    "ImageWorldReport",
    "image_jobs",
    "image_record",
    "instance_file",
    "label_map",
    "make_image_world",
    "object_records",
    "render_image",
    "segment_map",
]

IMAGE_PREVIEW = "preview.png"  # beside the data, drawn by the command line
SPLITS = ("train", "valid")
"""Parts of a world, each with its own pictures."""
MOMENTS = 24
"""Moments of the scene that a picture is taken from."""

_VERSION = 1  # raise it whenever the same parameters give other pixels, masks or categories


@dataclass(frozen=True)
class ImageWorldParameters:
    """Parameters of a data set, as they stand in ``info`` of its files; equal parameters give equal bytes."""

    seed: int
    train_images: int
    valid_images: int
    height: int
    width: int
    version: int = _VERSION
    generator: str = "dense.data.world (images)"
    jpeg_quality: int = JPEG_QUALITY

    def check(self) -> None:
        """Raise DataError for a number out of range."""
        check_integer("seed", self.seed, 0)
        check_integer("train_images", self.train_images, 0, VALID_OFFSET)
        check_integer("valid_images", self.valid_images, 0, VALID_OFFSET)
        check_video(1, (self.height, self.width), 1)
        if not self.train_images + self.valid_images:
            raise DataError("world: no images asked for. Give train_images or valid_images.")


@dataclass(frozen=True)
class ImageWorldReport:
    """What ``make_image_world`` did: ``instances`` counts both splits; ``kept`` = the output was already there."""

    output: Path
    train_images: int
    valid_images: int
    instances: int
    seconds: float
    kept: bool


@dataclass(frozen=True)
class ImageJob:
    """One picture to render: below which root, split and number."""

    root: str
    split: str
    number: int
    parameters: ImageWorldParameters


@dataclass(frozen=True)
class _Written:
    """Records of one picture without ids: objects of the instances file, segments of the panoptic file."""

    objects: list[dict[str, Any]]
    segments: list[dict[str, Any]]


def make_image_world(
    output: str | os.PathLike[str],
    seed: int = 0,
    train_images: int = 400,
    valid_images: int = 60,
    size: tuple[int, int] = (192, 320),
    workers: int = 2,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> ImageWorldReport:
    """Render a train and a valid split of single pictures with exact ground truth for all three image tasks.

    The bytes depend on everything but ``output``, ``workers``, ``progress`` and ``overwrite``. The JSON files are written
    last, so a run that was cut off leaves none; running it again completes the folder. Complete output with the same
    parameters is kept.

    Args:
        output: folder; made if missing. A folder with data that is not the world's is never touched.
        seed: seed of the world, >= 0; its pictures show the scenes of ``make_video_world`` with this seed.
        train_images: pictures of the train split.
        valid_images: pictures of the valid split.
        size: (height, width) in pixels, each at least 32.
        workers: processes; above 1, a script that calls this needs the ``if __name__ == "__main__":`` guard.
        progress: called as ``progress(pictures done, pictures in all)`` in this process.
        overwrite: replace a world with other parameters.

    Raises: DataError for parameters out of range, another data set in ``output``, a folder that cannot be written.
    """
    started = time.monotonic()
    parameters = ImageWorldParameters(seed, train_images, valid_images, size[0], size[1])
    parameters.check()
    check_integer("workers", workers, 1)
    root = Path(output)
    jsons = tuple(f"annotations/{kind}_{split}.json" for split in SPLITS for kind in ("panoptic", "instances"))
    folder = WorldFolder(root, asdict(parameters), jsons, ("images", "panoptic", "semantic"), (IMAGE_PREVIEW,))
    kept = folder.is_complete(overwrite) and _pictures_present(root)
    if not kept:
        folder.clear()
        _render_all(root, parameters, workers, progress)
    instances = sum(len(read_json(root / f"annotations/instances_{split}.json")["annotations"]) for split in SPLITS)
    return ImageWorldReport(root, train_images, valid_images, instances, time.monotonic() - started, kept)


def render_image(parameters: ImageWorldParameters, split: str, number: int) -> "RenderedVideo":
    """Picture ``number`` of a split as a video of one frame; the moment is drawn from (seed, index)."""
    import numpy as np

    from dense.data.world.render import render_moment
    from dense.data.world.scene import sample_scene

    index = number + (VALID_OFFSET if split == "valid" else 0)
    scene = sample_scene(parameters.seed, index, parameters.width / parameters.height, MOMENTS)
    moment = float(np.random.default_rng([parameters.seed, index, 4]).uniform(0, MOMENTS - 1))
    return render_moment(scene, (parameters.height, parameters.width), moment)


def label_map(video: "RenderedVideo", frame: int = 0) -> Any:  # noqa: ANN401  (H, W) uint8; numpy is not imported here
    """``(H, W)`` uint8 class indices of a frame: things by category, stuff after them, 255 where a thing shows too little."""
    stuff = video.stuff[frame]
    labels = (stuff + len(THINGS)).astype(stuff.dtype)
    labels[stuff == 255] = 255
    for category, mask in zip(video.categories, video.masks[:, frame], strict=True):
        labels[mask] = THINGS.index(category)
    return labels


def _pictures_present(root: Path) -> bool:
    for split in SPLITS:
        names = [image["file_name"] for image in read_json(root / f"annotations/instances_{split}.json")["images"]]
        stems = [Path(name).stem for name in names]
        if not all((root / "images" / split / name).is_file() for name in names):
            return False
        if not all((root / kind / split / f"{stem}.png").is_file() for kind in ("panoptic", "semantic") for stem in stems):
            return False
    return True


def _render_all(root: Path, parameters: ImageWorldParameters, workers: int, progress: Progress | None) -> None:
    jobs = image_jobs(root, parameters)
    written = list(run_jobs(_render_job, jobs, workers, progress))
    for split in SPLITS:
        part = [found for job, found in zip(jobs, written, strict=True) if job.split == split]
        images = [image_record(parameters, number) for number in range(len(part))]
        info = {"description": "procedural world, images", "split": split, **asdict(parameters)}
        write_json(root / f"annotations/panoptic_{split}.json", _panoptic(info, images, part))
        write_json(root / f"annotations/instances_{split}.json", _instances(info, images, part))


def image_jobs(root: Path, parameters: ImageWorldParameters) -> list[ImageJob]:
    """Every picture of both splits."""
    counts = {"train": parameters.train_images, "valid": parameters.valid_images}
    return [ImageJob(str(root), split, number, parameters) for split in SPLITS for number in range(counts[split])]


def image_record(parameters: ImageWorldParameters, number: int) -> dict[str, Any]:
    """Record of picture ``number`` of a split in a COCO file."""
    name = f"{number:06d}.jpg"
    return {"id": number + 1, "file_name": name, "height": parameters.height, "width": parameters.width}


def _instances(info: dict[str, Any], images: list[dict[str, Any]], part: list[_Written]) -> dict[str, Any]:
    categories = [{"id": k + 1, "name": name, "supercategory": "thing"} for k, name in enumerate(THINGS)]
    return instance_file(info, categories, images, [found.objects for found in part])


def instance_file(
    info: dict[str, Any],
    categories: list[dict[str, Any]],
    images: list[dict[str, Any]],
    objects: list[list[dict[str, Any]]],
) -> dict[str, Any]:
    """A file of COCO instances; ``objects`` per image, without ids."""
    flat = [(image["id"], record) for image, found in zip(images, objects, strict=True) for record in found]
    return {
        "info": info,
        "categories": categories,
        "images": images,
        "annotations": [{"id": k + 1, "image_id": image_id, **record} for k, (image_id, record) in enumerate(flat)],
    }


def _panoptic(info: dict[str, Any], images: list[dict[str, Any]], part: list[_Written]) -> dict[str, Any]:
    names = [(name, 1) for name in THINGS] + [(name, 0) for name in STUFF]
    return {
        "info": info,
        "categories": [{"id": k + 1, "name": name, "isthing": isthing} for k, (name, isthing) in enumerate(names)],
        "images": images,
        "annotations": [
            {"image_id": i["id"], "file_name": f"{Path(i['file_name']).stem}.png", "segments_info": found.segments}
            for i, found in zip(images, part, strict=True)
        ],
    }


def _render_job(job: ImageJob) -> _Written:
    """Write the picture and the two maps; return the records of the JSON files."""
    from dense.data.formats.png_ids import write_id_map, write_label_map

    picture = render_image(job.parameters, job.split, job.number)
    root, stem = Path(job.root), f"{job.number:06d}"
    write_jpeg(root / "images" / job.split / f"{stem}.jpg", picture.frames[0])
    labels = label_map(picture)
    ids, segments = _segments(picture, labels)
    write_label_map(root / "semantic" / job.split / f"{stem}.png", labels)
    write_id_map(root / "panoptic" / job.split / f"{stem}.png", ids)
    objects = object_records([THINGS.index(category) + 1 for category in picture.categories], picture.masks[:, 0])
    return _Written(objects, segments)


def object_records(category_ids: Sequence[int], masks: Any) -> list[dict[str, Any]]:  # noqa: ANN401  see label_map
    """COCO records without ids of the objects that can be seen; ``masks`` ``(N, H, W)`` bool."""
    from dense.structures import rle

    records = []
    for category_id, mask in zip(category_ids, masks, strict=True):
        if mask.any():
            code = rle.encode(mask)
            box, area = rle.bounding_box(code), rle.area(code)
            records.append({"category_id": category_id, "iscrowd": 0, "segmentation": code, "bbox": box, "area": area})
    return records


def _segments(picture: "RenderedVideo", labels: Any) -> tuple[Any, list[dict[str, Any]]]:  # noqa: ANN401  see label_map
    """Segment ids ``(H, W)`` (things from 1, then one per stuff class; 0 = void) and their records."""
    regions = [(THINGS.index(c), mask) for c, mask in zip(picture.categories, picture.masks[:, 0], strict=True) if mask.any()]
    regions += [(k, labels == k) for k in range(len(THINGS), len(THINGS) + len(STUFF)) if (labels == k).any()]
    return segment_map([(number, label + 1, mask) for number, (label, mask) in enumerate(regions, start=1)], labels.shape)


def segment_map(regions: list[tuple[int, int, Any]], size: tuple[int, int]) -> tuple[Any, list[dict[str, Any]]]:
    """Segment ids ``(H, W)`` int32 (0 = void) and records of (segment id, category id, mask ``(H, W)`` bool) with pixels."""
    import numpy as np

    ids = np.zeros(size, np.int32)
    records = []
    for number, category, mask in regions:
        ids[mask] = number
        y, x = np.nonzero(mask)
        box = [int(x.min()), int(y.min()), int(np.ptp(x)) + 1, int(np.ptp(y)) + 1]
        records.append({"id": number, "category_id": category, "iscrowd": 0, "area": int(mask.sum()), "bbox": box})
    return ids, records
