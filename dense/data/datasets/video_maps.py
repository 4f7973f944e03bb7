"""Video panoptic and video semantic data sets by name: VIPSeg, VSPW and the world's.

Official data sets lie under ``$DETECTRON2_DATASETS`` (default ``datasets``)::

    VIPSeg/VIPSeg_720P/panoptic_gt_VIPSeg_{train,val,test}.json    VIPSeg/VIPSeg_720P/{images,panomasksRGB}
    VSPW_480p/{train,val,test}.txt                                 VSPW_480p/data/<video>/{origin,mask}
    world_vipseg, world_vspw                                       (tools/make_world.py --kind vipseg, --kind vspw)

Classes are counted things first, in the order of their ids, then stuff (both sets, as in DVIS++). Own data, where a
configuration wants a name: ``ANNOTATIONS.json:PNG_FOLDER:IMAGES`` (panoptic), ``FOLDER:SPLIT`` (semantic, in the layout of
VSPW).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dense.data.datasets.images import WORLD_CATEGORIES
from dense.data.datasets.video_instances import datasets_root
from dense.data.datasets.video_map_categories import VIPSEG
from dense.data.formats.category_table import Category
from dense.data.formats.vipseg import PanopticVideoDataset, read_vipseg
from dense.data.formats.vspw import SemanticVideoDataset, read_vspw
from dense.errors import ConfigError, DataError
from dense.registry import nearest

__all__ = [
    "PanopticVideoSource",
    "SemanticVideoSource",
    "resolve_panoptic_videos",
    "resolve_semantic_videos",
    "things_first",
    "video_map_kinds",
]

_WORLD = tuple(Category(category.id - 1, category.name, category.isthing) for category in WORLD_CATEGORIES)


def things_first(categories: Sequence[Category]) -> dict[int, int]:
    """Category id → class index: things in the order of their ids, then stuff in the order of its ids."""
    ordered = sorted(categories, key=lambda category: (not category.isthing, category.id))
    return {category.id: rank for rank, category in enumerate(ordered)}


@dataclass(frozen=True)
class PanopticVideoSource:
    """A VIPSeg file with its folders; ``categories`` is the published table (``None`` = only the file knows)."""

    name: str
    json_path: Path
    png_root: Path
    image_root: Path
    categories: tuple[Category, ...] | None = None

    def read(self, require_annotations: bool = False) -> PanopticVideoDataset:
        """Read and check the annotation file; errors as ``read_vipseg``."""
        _check(self.name, self.json_path)
        return read_vipseg(self.json_path, self.png_root, self.image_root, require_annotations=require_annotations)

    @property
    def category_names(self) -> tuple[str, ...] | None:
        """Names of the published table in the order of the classes."""
        return None if self.categories is None else _names(self.categories)


@dataclass(frozen=True)
class SemanticVideoSource:
    """A split in the layout of VSPW; ``categories`` as in ``PanopticVideoSource``."""

    name: str
    root: Path
    split: str
    categories: tuple[Category, ...] | None = None

    def read(self) -> SemanticVideoDataset:
        """Find the files; errors as ``read_vspw``."""
        _check(self.name, self.root / f"{self.split}.txt")
        return read_vspw(self.root, self.split, self.categories)

    @property
    def category_names(self) -> tuple[str, ...] | None:
        """Names of the published table in the order of the classes."""
        return None if self.categories is None else _names(self.categories)


def _names(categories: Sequence[Category]) -> tuple[str, ...]:
    names = {category.id: category.name for category in categories}
    return tuple(names[identity] for identity in things_first(categories))


def _check(name: str, path: Path) -> None:
    if not path.is_file():
        raise DataError(
            f"data set {name!r}: {path} does not exist. Put the data set there, or set DETECTRON2_DATASETS to the folder that"
            " holds all data sets."
        )


def _panoptic() -> dict[str, PanopticVideoSource]:
    root = datasets_root()
    places = {f"panoVSPW_vps_video_{split}": (root / "VIPSeg/VIPSeg_720P", split, VIPSEG) for split in ("train", "val", "test")}
    places |= {f"world_vipseg_{split}": (root / "world_vipseg", split, _WORLD) for split in ("train", "val")}
    return {
        name: PanopticVideoSource(
            name, folder / f"panoptic_gt_VIPSeg_{split}.json", folder / "panomasksRGB", folder / "images", categories
        )
        for name, (folder, split, categories) in places.items()
    }


def _semantic() -> dict[str, SemanticVideoSource]:
    root = datasets_root()
    sources = [
        SemanticVideoSource(f"VSPW_vss_video_{split}", root / "VSPW_480p", split, VIPSEG) for split in ("train", "val", "test")
    ]
    sources += [SemanticVideoSource(f"world_vspw_{split}", root / "world_vspw", split, _WORLD) for split in ("train", "val")]
    return {source.name: source for source in sources}


def video_map_kinds() -> dict[str, str]:
    """Every registered name with its kind."""
    return dict.fromkeys(_panoptic(), "video_panoptic") | dict.fromkeys(_semantic(), "video_semantic")


def resolve_panoptic_videos(name: str) -> PanopticVideoSource:
    """Find a video panoptic set by registered name, or ``ANNOTATIONS.json:PNG_FOLDER:IMAGES``; nothing is read.

    Raises: ConfigError for a name that is neither, suggesting the nearest one.
    """
    sources = _panoptic()
    parts = name.split(":")
    if name in sources:
        return sources[name]
    if len(parts) != 3 or not all(parts):
        raise _unknown(name, list(sources), "ANNOTATIONS.json:PNG_FOLDER:IMAGES")
    json_path, png_root, image_root = (Path(part).expanduser() for part in parts)
    return PanopticVideoSource(name, json_path, png_root, image_root)


def resolve_semantic_videos(name: str) -> SemanticVideoSource:
    """Find a video semantic set by registered name, or ``FOLDER:SPLIT``; nothing is read.

    Raises: ConfigError for a name that is neither, suggesting the nearest one.
    """
    sources = _semantic()
    parts = name.split(":")
    if name in sources:
        return sources[name]
    if len(parts) != 2 or not all(parts):
        raise _unknown(name, list(sources), "FOLDER:SPLIT")
    return SemanticVideoSource(name, Path(parts[0]).expanduser(), parts[1])


def _unknown(name: str, known: list[str], form: str) -> ConfigError:
    return ConfigError(f"unknown data set {name!r}.{nearest(name, known)} For your own data write {form}.")
