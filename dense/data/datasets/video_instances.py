"""Video instance data sets by name: where their files lie, and one's own data without registering anything.

Official data sets lie under ``$DETECTRON2_DATASETS`` (default ``datasets``)::

    ytvis_2019/{train,valid,test}.json      ytvis_2019/{train,valid,test}/JPEGImages       ytvis_2021 likewise
    ytvis_2022/valid/instances.json         ytvis_2022/valid/JPEGImages
    ovis/annotations/annotations_{train,valid,test}.json    ovis/{train,valid,test}
    world/{train,valid}.json                world/{train,valid}/JPEGImages                 (tools/make_world.py)

Own data: write ``annotations.json:folder/of/images`` where a configuration wants a data set's name.
"""

import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path

from dense.data.datasets.categories import OVIS, YTVIS_2019, YTVIS_2021
from dense.data.formats.youtube_vis import VideoDataset, read_youtube_vis
from dense.data.world.categories import THINGS
from dense.errors import ConfigError, DataError
from dense.registry import nearest

__all__ = ["DatasetSource", "dataset_names", "dataset_source", "datasets_root", "resolve_dataset"]

_OWN = re.compile(r"(?P<json>.+\.json)(?::(?P<images>.*))?", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class DatasetSource:
    """Where a data set lies.

    Attributes:
        name: registered name, or the text that ``resolve_dataset`` was given.
        json_path: annotation file.
        image_root: folder that its ``file_names`` are relative to.
        category_names: names of the published table in contiguous order, ``None`` if only the file knows them. Once the file is
            read, its own names count (``VideoDataset.category_names``).
    """

    name: str
    json_path: Path
    image_root: Path
    category_names: tuple[str, ...] | None

    def read(self, check_files: bool = False, require_annotations: bool = False) -> VideoDataset:
        """Read and check the annotation file; arguments and errors as ``read_youtube_vis``."""
        if not self.json_path.is_file():
            raise DataError(
                f"data set {self.name!r}: {self.json_path} does not exist. Put the data set there, or set DETECTRON2_DATASETS"
                " to the folder that holds all data sets."
            )
        dataset = read_youtube_vis(self.json_path, self.image_root, check_files, require_annotations)
        if self.category_names not in (None, dataset.category_names):
            logging.getLogger(__name__).warning(
                "%s: categories differ from the published table of %s; those of the file are used.", self.json_path, self.name
            )
        return dataset


def datasets_root() -> Path:
    """``$DETECTRON2_DATASETS``, or ``datasets`` in the working directory."""
    return Path(os.environ.get("DETECTRON2_DATASETS") or "datasets").expanduser()


def _sources() -> dict[str, tuple[str, str, tuple[str, ...]]]:
    """Name → (annotation file, image folder) below the root, and category table."""
    sources = {}
    for split, folder in (("train", "train"), ("val", "valid"), ("test", "test")):
        for year, names in (("2019", YTVIS_2019), ("2021", YTVIS_2021)):
            base = f"ytvis_{year}"
            sources[f"{base}_{split}"] = (f"{base}/{folder}.json", f"{base}/{folder}/JPEGImages", names)
        sources[f"ovis_{split}"] = (f"ovis/annotations/annotations_{folder}.json", f"ovis/{folder}", OVIS)
    sources["ytvis_2022_val"] = ("ytvis_2022/valid/instances.json", "ytvis_2022/valid/JPEGImages", YTVIS_2021)
    for split in ("train", "valid"):
        sources[f"world_{split}"] = (f"world/{split}.json", f"world/{split}/JPEGImages", THINGS)
    return sources


def dataset_names() -> tuple[str, ...]:
    """All registered names, sorted."""
    return tuple(sorted(_sources()))


def dataset_source(name: str) -> DatasetSource:
    """Look up a registered name; nothing is read. Raises: ConfigError naming the nearest known name."""
    sources = _sources()
    if name not in sources:
        hint = nearest(name, list(sources))
        raise ConfigError(f"unknown data set {name!r}.{hint} For your own data write ANNOTATIONS.json:IMAGE_FOLDER.")
    json_path, image_root, names = sources[name]
    root = datasets_root()
    return DatasetSource(name, root / json_path, root / image_root, names)


def resolve_dataset(name: str) -> DatasetSource:
    """Find a data set by registered name, or by place.

    Args:
        name: one of ``dataset_names()``; or ``ANNOTATIONS.json:IMAGE_FOLDER``; or only ``ANNOTATIONS.json``, then the images
            are looked for in ``<file's stem>/JPEGImages`` and ``JPEGImages`` beside the file, else beside the file itself.

    Nothing is read; ``DatasetSource.read`` says what is missing.
    Raises: ConfigError for a name that is neither, suggesting the nearest one.
    """
    own = _OWN.fullmatch(name)
    if own is None or name in _sources():
        return dataset_source(name)
    json_path = Path(own["json"]).expanduser()
    if own["images"] is None:
        return DatasetSource(name, json_path, _guessed_images(json_path), None)
    if not own["images"]:
        raise ConfigError(f"data set {name!r}: nothing after the colon, expected ANNOTATIONS.json:IMAGE_FOLDER.")
    return DatasetSource(name, json_path, Path(own["images"]).expanduser(), None)


def _guessed_images(json_path: Path) -> Path:
    folder = json_path.parent
    candidates = (folder / json_path.stem / "JPEGImages", folder / "JPEGImages")
    return next((candidate for candidate in candidates if candidate.is_dir()), folder)
