"""Image data sets by name: where their files lie, and one's own data without registering anything.

Official data sets lie under ``$DETECTRON2_DATASETS`` (default ``datasets``)::

    coco/annotations/instances_{train,val}2017.json    coco/{train,val}2017
    VOC{2007,2012}/{Annotations,ImageSets/Main,JPEGImages}                                     (see ``pascal_voc``)
    coco/annotations/panoptic_{train,val}2017.json     coco/panoptic_{train,val}2017           (PNG)
    (coco2ytvis2019, coco2ytvis2021, coco2ovis: parts of COCO instances, see ``coco_subsets``)
    ADEChallengeData2016/images/{training,validation}  ADEChallengeData2016/annotations_detectron2/{training,validation}
    cityscapes/leftImg8bit/{train,val}                 cityscapes/gtFine/{train,val}           (*_labelTrainIds.png)
    world_images/annotations/…                         world_images/{images,panoptic,semantic}/{train,valid}

The last is written by ``tools/make_world.py --kind images``. Label maps hold class indices from 0, and 255 where nothing is
labelled (ADE20K's own start at 1: the folder ``annotations_detectron2`` has them less 1).

Own data, where a configuration wants a name: ``ANNOTATIONS.json:IMAGES`` (instances), ``ANNOTATIONS.json:PNG_FOLDER:IMAGES``
(panoptic), ``IMAGES:LABELS:NAMES.json`` (semantic; a JSON list of names).

Parts with base and novel categories, and LVIS: see ``open_vocabulary``.

``NAME@N`` is the first N images of an instances set: learning from few labels.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from dense.data.datasets.image_categories import ADE20K, CITYSCAPES, COCO_STUFF, COCO_THINGS
from dense.data.datasets.pascal_voc import VocSource, voc_sources
from dense.data.datasets.sources import Published, check_present, find_source, own_paths, split_limit
from dense.data.datasets.video_instances import datasets_root
from dense.data.formats.category_table import Category
from dense.data.formats.coco import ImageDataset, read_coco
from dense.data.formats.coco_panoptic import PanopticDataset, read_panoptic
from dense.data.formats.records import text
from dense.data.formats.semantic_maps import SemanticDataset, read_semantic_folders
from dense.data.world.categories import STUFF, THINGS
from dense.errors import DataError
from dense.io import read_json

__all__ = [
    "WORLD_CATEGORIES",
    "InstanceSource",
    "PanopticSource",
    "SemanticSource",
    "image_dataset_kinds",
    "resolve_instances",
    "resolve_panoptic",
    "resolve_semantic",
]

WORLD_CATEGORIES = tuple(Category(k + 1, name, k < len(THINGS)) for k, name in enumerate((*THINGS, *STUFF)))
"""Things, then stuff, of the procedural world; ids from 1."""


@dataclass(frozen=True)
class InstanceSource(Published):
    """A COCO instances file with its image folder.

    Attributes:
        categories: the published table; ``None`` = only the file knows.
        limit: number of images that are read, from the first on; ``None`` = all.
    """

    name: str
    json_path: Path
    image_root: Path
    categories: tuple[Category, ...] | None = None
    limit: int | None = None

    def read(self, require_annotations: bool = False, masks: bool = True) -> ImageDataset:
        """Read and check the annotation file; arguments and errors as ``read_coco``.

        Raises: also DataError for fewer images than ``limit``.
        """
        check_present(self.name, self.json_path, self.json_path.is_file())
        whole = read_coco(self.json_path, self.image_root, require_annotations=require_annotations, masks=masks)
        return self.first(whole)

    def first(self, whole: ImageDataset) -> ImageDataset:
        """The part of ``limit`` images."""
        if self.limit is None:
            return whole
        if self.limit > len(whole.images):
            raise DataError(f"data set {self.name!r}: {whole.path} has {len(whole.images)} images, fewer than {self.limit}.")
        return replace(whole, images=whole.images[: self.limit])


@dataclass(frozen=True)
class PanopticSource(Published):
    """A COCO panoptic file with its folders; ``categories`` as in ``InstanceSource``."""

    name: str
    json_path: Path
    png_root: Path
    image_root: Path
    categories: tuple[Category, ...] | None = None

    def read(self) -> PanopticDataset:
        """Read and check the annotation file; errors as ``read_panoptic``."""
        check_present(self.name, self.json_path, self.json_path.is_file())
        return read_panoptic(self.json_path, self.png_root, self.image_root)


@dataclass(frozen=True)
class SemanticSource:
    """A folder of pictures and one of label maps; the suffixes are those of ``read_semantic_folders``."""

    name: str
    image_root: Path
    label_root: Path
    category_names: tuple[str, ...]
    image_suffix: str = ""
    label_suffix: str = ".png"

    def read(self) -> SemanticDataset:
        """Find the files; errors as ``read_semantic_folders``."""
        check_present(self.name, self.label_root, self.label_root.is_dir())
        return read_semantic_folders(
            self.image_root,
            self.label_root,
            self.category_names,
            image_suffix=self.image_suffix,
            label_suffix=self.label_suffix,
        )


def _instances() -> dict[str, InstanceSource | VocSource]:
    root = datasets_root()
    coco, world = root / "coco", root / "world_images"
    sources = [
        InstanceSource(
            f"coco_2017_{split}", coco / f"annotations/instances_{split}2017.json", coco / f"{split}2017", COCO_THINGS
        )
        for split in ("train", "val")
    ]
    sources += [
        InstanceSource(
            f"world_images_{split}",
            world / f"annotations/instances_{split}.json",
            world / f"images/{split}",
            WORLD_CATEGORIES[: len(THINGS)],
        )
        for split in ("train", "valid")
    ]
    from dense.data.datasets.coco_subsets import coco_subsets  # which is built of what stands above
    from dense.data.datasets.open_vocabulary import open_vocabulary_instances

    return {
        **{source.name: source for source in sources},
        **coco_subsets(),
        **voc_sources(),
        **open_vocabulary_instances(),
    }


def _panoptic() -> dict[str, PanopticSource]:
    root = datasets_root()
    coco, world = root / "coco", root / "world_images"
    sources = [
        PanopticSource(
            f"coco_2017_{split}_panoptic",
            coco / f"annotations/panoptic_{split}2017.json",
            coco / f"panoptic_{split}2017",
            coco / f"{split}2017",
            (*COCO_THINGS, *COCO_STUFF),
        )
        for split in ("train", "val")
    ]
    sources += [
        PanopticSource(
            f"world_images_{split}_panoptic",
            world / f"annotations/panoptic_{split}.json",
            world / f"panoptic/{split}",
            world / f"images/{split}",
            WORLD_CATEGORIES,
        )
        for split in ("train", "valid")
    ]
    return {source.name: source for source in sources}


def _semantic() -> dict[str, SemanticSource]:
    root = datasets_root()
    ade, cityscapes, world = root / "ADEChallengeData2016", root / "cityscapes", root / "world_images"
    world_names = tuple(category.name for category in WORLD_CATEGORIES)
    sources = []
    for split, folder in (("train", "training"), ("val", "validation")):
        name = f"ade20k_sem_seg_{split}"
        sources.append(SemanticSource(name, ade / "images" / folder, ade / "annotations_detectron2" / folder, ADE20K))
        suffixes = ("_leftImg8bit.png", "_gtFine_labelTrainIds.png")
        name, folders = f"cityscapes_fine_sem_seg_{split}", (cityscapes / "leftImg8bit" / split, cityscapes / "gtFine" / split)
        sources.append(SemanticSource(name, *folders, CITYSCAPES, *suffixes))
    for split in ("train", "valid"):
        name = f"world_images_{split}_semantic"
        sources.append(SemanticSource(name, world / "images" / split, world / "semantic" / split, world_names))
    return {source.name: source for source in sources}


def image_dataset_kinds() -> dict[str, str]:
    """Every registered name with its kind."""
    kinds = dict.fromkeys(_instances(), "image_instance")
    return kinds | dict.fromkeys(_panoptic(), "image_panoptic") | dict.fromkeys(_semantic(), "image_semantic")


def resolve_instances(name: str) -> InstanceSource | VocSource:
    """Find an instance data set by registered name, or ``ANNOTATIONS.json:IMAGES``, perhaps with ``@N``; nothing is read.

    Raises: ConfigError for a name that is neither, suggesting the nearest one.
    """
    base, limit = split_limit(name)
    source = find_source(base, _instances(), "ANNOTATIONS.json:IMAGES", InstanceSource)
    return source if limit is None else replace(source, name=name, limit=limit)


def resolve_panoptic(name: str) -> PanopticSource:
    """Find a panoptic data set by registered name, or ``ANNOTATIONS.json:PNG_FOLDER:IMAGES``; nothing is read.

    Raises: ConfigError for a name that is neither, suggesting the nearest one.
    """
    return find_source(name, _panoptic(), "ANNOTATIONS.json:PNG_FOLDER:IMAGES", PanopticSource)


def resolve_semantic(name: str) -> SemanticSource:
    """Find a semantic data set by registered name, or ``IMAGES:LABELS:NAMES.json``; only the list of names is read.

    Raises: ConfigError for a name that is neither, suggesting the nearest one; DataError for a wrong list of names.
    """
    sources = _semantic()
    if name in sources:
        return sources[name]
    images, labels, listed = own_paths(name, sources, "IMAGES:LABELS:NAMES.json")
    names = read_json(listed)
    if not isinstance(names, list) or not names:
        raise DataError(f"{listed}: expected a JSON list with the name of each class.")
    return SemanticSource(name, images, labels, tuple(text(n, f"{listed}: [{k}]", "a name") for k, n in enumerate(names)))
