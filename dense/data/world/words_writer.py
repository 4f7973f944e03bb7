"""The world of words on disk: pictures, captions, and annotations whose training part leaves the novel categories out.

``images/{train,valid}/<number>.jpg`` and in ``annotations``: ``captions_{train,valid}.json`` (COCO captions, about everything
in the pictures), ``instances_{train,valid}.json`` (COCO, every object), ``lvis_{train,valid}.json`` (LVIS: federated), and the
lists of names ``base.json`` and ``novel.json``. Train annotations hold base categories only; ids are the same in every file.
"""

import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dense.data.world.folder import WorldFolder
from dense.data.world.image_writer import (
    IMAGE_PREVIEW,
    SPLITS,
    ImageJob,
    ImageWorldParameters,
    ImageWorldReport,
    image_jobs,
    image_record,
    instance_file,
    object_records,
)
from dense.data.world.jobs import Progress, run_jobs
from dense.data.world.parameters import check_integer
from dense.data.world.pictures import write_jpeg
from dense.data.world.words import WORD_CATEGORIES, WordCategory
from dense.io import read_json, write_json

__all__ = ["WORDS_GENERATOR", "make_word_world", "word_parameters"]

WORDS_GENERATOR = "dense.data.world (words)"
_VERSION = 1  # raise it whenever the same parameters give other pixels, masks, words or annotations
_FILES = ("captions", "lvis", "instances")  # the last one is written last
_UNLABELLED = 0.1  # chance that a category of a picture was not looked for, though it is there
_NOT_EXHAUSTIVE = 0.5  # chance that of several objects of a category one is left out, which is said
_NEGATIVES = 12  # categories of a picture that are verified to be absent


@dataclass(frozen=True)
class _Written:
    """Records of one picture without ids: all objects, those of the federated file, what it says of the picture, captions."""

    objects: list[dict[str, Any]]
    federated: list[dict[str, Any]]
    federation: dict[str, list[int]]
    captions: tuple[str, ...]


def word_parameters(seed: int, train_images: int, valid_images: int, size: tuple[int, int]) -> ImageWorldParameters:
    """What the bytes depend on; ``size`` is (height, width) in pixels. Raises: DataError for a number out of range."""
    parameters = ImageWorldParameters(seed, train_images, valid_images, *size, version=_VERSION, generator=WORDS_GENERATOR)
    parameters.check()
    return parameters


def make_word_world(
    output: str | os.PathLike[str],
    seed: int = 0,
    train_images: int = 400,
    valid_images: int = 60,
    size: tuple[int, int] = (192, 320),
    workers: int = 2,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> ImageWorldReport:
    """Render pictures of things whose categories are two words, with captions and open-vocabulary annotations.

    Arguments, errors and what happens to a folder that exists are those of ``make_image_world``; ``instances`` of the report
    counts the objects of both COCO files.
    """
    started = time.monotonic()
    parameters = word_parameters(seed, train_images, valid_images, size)
    check_integer("workers", workers, 1)
    root = Path(output)
    names = ("annotations/base.json", "annotations/novel.json")
    jsons = (*names, *(f"annotations/{kind}_{split}.json" for split in SPLITS for kind in _FILES))
    folder = WorldFolder(root, asdict(parameters), jsons, ("images",), (IMAGE_PREVIEW,))
    kept = folder.is_complete(overwrite) and _pictures_present(root)
    if not kept:
        folder.clear()
        _render_all(root, parameters, workers, progress)
    instances = sum(len(read_json(root / f"annotations/instances_{split}.json")["annotations"]) for split in SPLITS)
    return ImageWorldReport(root, train_images, valid_images, instances, time.monotonic() - started, kept)


def _pictures_present(root: Path) -> bool:
    return all(
        (root / "images" / split / image["file_name"]).is_file()
        for split in SPLITS
        for image in read_json(root / f"annotations/instances_{split}.json")["images"]
    )


def _render_all(root: Path, parameters: ImageWorldParameters, workers: int, progress: Progress | None) -> None:
    jobs = image_jobs(root, parameters)
    written = list(run_jobs(_render_job, jobs, workers, progress))
    for name, novel in (("base", False), ("novel", True)):
        write_json(root / f"annotations/{name}.json", [c.name for c in WORD_CATEGORIES if c.novel == novel], indent=1)
    for split in SPLITS:
        part = [found for job, found in zip(jobs, written, strict=True) if job.split == split]
        info = {"description": "procedural world, words", "split": split, **asdict(parameters)}
        images = [image_record(parameters, number) for number in range(len(part))]
        categories = [_category_record(category) for category in WORD_CATEGORIES if split == "valid" or not category.novel]
        content = {
            "captions": _captions(info, images, part),
            "lvis": instance_file(
                info,
                categories,
                [{**image, **found.federation} for image, found in zip(images, part, strict=True)],
                [found.federated for found in part],
            ),
            "instances": instance_file(
                info,
                [{"id": c["id"], "name": c["name"], "supercategory": "thing"} for c in categories],
                images,
                [found.objects for found in part],
            ),
        }
        for kind in _FILES:
            write_json(root / f"annotations/{kind}_{split}.json", content[kind])


def _category_record(category: WordCategory) -> dict[str, Any]:
    return {
        "id": category.id,
        "name": category.name,
        "synonyms": list(category.synonyms),
        "frequency": category.frequency,
    }


def _captions(info: dict[str, Any], images: list[dict[str, Any]], part: list[_Written]) -> dict[str, Any]:
    flat = [(image["id"], caption) for image, found in zip(images, part, strict=True) for caption in found.captions]
    records = [{"id": k + 1, "image_id": image_id, "caption": caption} for k, (image_id, caption) in enumerate(flat)]
    return {"info": info, "images": images, "annotations": records}


def _render_job(job: ImageJob) -> _Written:
    """Write the picture; return the records of the JSON files."""
    from dense.data.world.word_scenes import render_words

    found = render_words(job.parameters, job.split, job.number)
    write_jpeg(Path(job.root) / "images" / job.split / f"{job.number:06d}.jpg", found.picture.frames[0])
    known = {category.id for category in WORD_CATEGORIES if job.split == "valid" or not category.novel}
    objects = object_records([category.id for category in found.categories], found.picture.masks[:, 0])
    boxed = [record for record in objects if record["category_id"] in known]
    present = {record["category_id"] for record in objects}
    federated, federation = _federate(boxed, sorted(known - present), [job.parameters.seed, found.index, 5])
    return _Written(boxed, federated, federation, found.captions)


def _federate(
    objects: list[dict[str, Any]], absent: list[int], key: list[int]
) -> tuple[list[dict[str, Any]], dict[str, list[int]]]:
    """What annotators who look for some categories only would have marked, and what they say they looked for."""
    import numpy as np

    rng = np.random.default_rng(key)
    kept, partial = [], []
    for category in sorted({record["category_id"] for record in objects}):
        same = [record for record in objects if record["category_id"] == category]
        unlabelled, left_out = rng.uniform(size=2) < (_UNLABELLED, _NOT_EXHAUSTIVE)
        if unlabelled:
            continue
        if len(same) > 1 and left_out:
            same = sorted(same, key=lambda record: -record["area"])[:-1]
            partial.append(category)
        kept += same
    negatives = sorted(int(k) for k in rng.permutation(absent)[:_NEGATIVES])
    return kept, {"neg_category_ids": negatives, "not_exhaustive_category_ids": partial}
