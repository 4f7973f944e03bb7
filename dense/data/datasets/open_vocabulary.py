"""Data sets with base and novel categories: LVIS, COCO 48/17, the world of words; and LVIS as such.

Kind ``image_federated`` (LVIS files: what was looked for is said), below ``$DETECTRON2_DATASETS``::

    lvis_v1_{train,val}         lvis/lvis_v1_{train,val}.json                       coco (pictures of both splits of COCO)
    lvis_v1_train_base          the same, without the 337 rare categories
    world_words_{train,valid}   world_words/annotations/lvis_{train,valid}.json     world_words/images/{train,valid}

Kind ``image_instance``::

    coco_2017_train_48          coco/annotations/instances_train2017.json, its 48 base categories only
    coco_2017_val_65            coco/annotations/instances_val2017.json, base and novel ("generalised")
    world_words_{train,valid}_instances     world_words/annotations/instances_{train,valid}.json
    objects365_val              objects365/annotations/objects365_val.json         objects365/val

Images without any object of the categories of a COCO part are left out, as the published parts do. Own LVIS files:
``ANNOTATIONS.json:IMAGES``.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

from dense.data.categories import lvis_v1, word_split
from dense.data.datasets.image_categories import COCO_THINGS
from dense.data.datasets.images import InstanceSource
from dense.data.datasets.sources import Published, check_present, find_source, split_limit
from dense.data.datasets.video_instances import datasets_root
from dense.data.formats.category_parts import federated_part, instance_part
from dense.data.formats.category_table import Category
from dense.data.formats.coco import ImageDataset
from dense.data.formats.lvis import LvisDataset, read_lvis
from dense.data.world.words import WORD_CATEGORIES
from dense.errors import DataError

__all__ = [
    "CategoryPart",
    "FederatedSource",
    "federated_names",
    "novel_names",
    "open_vocabulary_instances",
    "resolve_federated",
]


@dataclass(frozen=True)
class FederatedSource(Published):
    """An LVIS file with its image folder.

    Attributes:
        categories: the published table, or the part of it that is wanted; ``None`` = only the file knows.
        limit: number of images that are read, from the first on; ``None`` = all.
    """

    name: str
    json_path: Path
    image_root: Path
    categories: tuple[Category, ...] | None = None
    limit: int | None = None

    def read(self, masks: bool = True) -> LvisDataset:
        """Read and check the annotation file; errors as ``read_lvis``. Objects of categories that are not wanted are left out.

        Raises: also DataError for fewer images than ``limit``.
        """
        check_present(self.name, self.json_path, self.json_path.is_file())
        whole = read_lvis(self.json_path, self.image_root, masks=masks)
        images = whole.objects.images
        if self.limit is not None and self.limit > len(images):
            raise DataError(f"data set {self.name!r}: {self.json_path} has {len(images)} images, fewer than {self.limit}.")
        first = replace(whole, objects=replace(whole.objects, images=images[: self.limit]))
        return first if self.categories is None else federated_part(first, {category.id for category in self.categories})


@dataclass(frozen=True)
class CategoryPart(InstanceSource):
    """A COCO file of which only ``kept`` categories, and the images with objects of them, are used."""

    kept: frozenset[int] = field(default=frozenset(), kw_only=True)

    def first(self, whole: ImageDataset) -> ImageDataset:
        """The part, then as ``InstanceSource``."""
        part = instance_part(whole, self.kept)
        if whole.has_annotations:
            part = replace(part, images=tuple(image for image in part.images if image.objects))
        return super().first(part)


def open_vocabulary_instances() -> dict[str, InstanceSource]:
    """Registered sets of kind ``image_instance``."""
    root = datasets_root()
    coco, words = root / "coco", root / "world_words"
    split = word_split("coco_48_17")
    sources: list[InstanceSource] = []
    for part, name, wanted in (
        ("train", "coco_2017_train_48", split.base),
        ("val", "coco_2017_val_65", split.base + split.novel),
    ):
        table = tuple(category for category in COCO_THINGS if category.name in wanted)
        kept = frozenset(category.id for category in table)
        places = coco / f"annotations/instances_{part}2017.json", coco / f"{part}2017"
        sources.append(CategoryPart(name, *places, table, kept=kept))
    for part in ("train", "valid"):
        places = words / f"annotations/instances_{part}.json", words / f"images/{part}"
        sources.append(InstanceSource(f"world_words_{part}_instances", *places, _word_table(part)))
    objects = root / "objects365"
    sources.append(InstanceSource("objects365_val", objects / "annotations/objects365_val.json", objects / "val"))
    return {source.name: source for source in sources}


def _word_table(part: str) -> tuple[Category, ...]:
    return tuple(Category(c.id, c.name) for c in WORD_CATEGORIES if part == "valid" or not c.novel)


def _federated() -> dict[str, FederatedSource]:
    root = datasets_root()
    names = tuple(Category(category.id, category.name) for category in lvis_v1())
    base = tuple(Category(category.id, category.name) for category in lvis_v1() if category.frequency != "r")
    lvis, words = root / "lvis", root / "world_words"
    sources = [
        FederatedSource(f"lvis_v1_{part}", lvis / f"lvis_v1_{part}.json", root / "coco", names) for part in ("train", "val")
    ]
    sources.append(FederatedSource("lvis_v1_train_base", lvis / "lvis_v1_train.json", root / "coco", base))
    for part in ("train", "valid"):
        places = words / f"annotations/lvis_{part}.json", words / f"images/{part}"
        sources.append(FederatedSource(f"world_words_{part}", *places, _word_table(part)))
    return {source.name: source for source in sources}


def federated_names() -> tuple[str, ...]:
    """All registered names of kind ``image_federated``, sorted."""
    return tuple(sorted(_federated()))


def resolve_federated(name: str) -> FederatedSource:
    """Find a federated data set by registered name, or ``ANNOTATIONS.json:IMAGES``, perhaps with ``@N``; nothing is read.

    Raises: ConfigError for a name that is neither, suggesting the nearest one.
    """
    base, limit = split_limit(name)
    source = find_source(base, _federated(), "ANNOTATIONS.json:IMAGES", FederatedSource)
    return source if limit is None else replace(source, name=name, limit=limit)


def novel_names(name: str) -> tuple[str, ...]:
    """Names of the novel categories of a registered set of kind ``image_instance``; empty for one without such a split."""
    base, _ = split_limit(name)
    if base == "coco_2017_val_65":
        return word_split("coco_48_17").novel
    return word_split("world_words").novel if base == "world_words_valid_instances" else ()
