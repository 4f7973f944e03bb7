"""Video panoptic and video semantic data sets by name: VIPSeg, VSPW and the world's.

Official data sets lie under ``$DETECTRON2_DATASETS`` (default ``datasets``)::

    VIPSeg/VIPSeg_720P/panoptic_gt_VIPSeg_{train,val,test}.json    VIPSeg/VIPSeg_720P/{images,panomasksRGB}
    VSPW_480p/{train,val,test}.txt                                 VSPW_480p/data/<video>/{origin,mask}
    world_vipseg, world_vspw                                       (tools/make_world.py --kind vipseg, --kind vspw)

Classes are counted things first, in the order of their ids, then stuff (both sets, as in DVIS++). Own data, where a
configuration wants a name: ``ANNOTATIONS.json:PNG_FOLDER:IMAGES`` (panoptic), ``FOLDER:SPLIT`` (semantic, in the layout of
VSPW).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dense.data.datasets.images import WORLD_CATEGORIES
from dense.data.datasets.sources import Published, check_present, find_source
from dense.data.datasets.video_instances import datasets_root
from dense.data.datasets.video_map_categories import VIPSEG
from dense.data.formats.category_table import Category, CategoryTable
from dense.data.formats.vipseg import PanopticVideoDataset, read_vipseg
from dense.data.formats.vspw import SemanticVideoDataset, read_vspw

__all__ = [
    "PanopticVideoSource",
    "SemanticVideoSource",
    "VideoMapSource",
    "in_class_order",
    "resolve_panoptic_videos",
    "resolve_semantic_videos",
    "things_first",
    "video_map_kinds",
]

_WORLD = tuple(Category(category.id - 1, category.name, category.isthing) for category in WORLD_CATEGORIES)


def in_class_order(categories: Iterable[Category]) -> tuple[Category, ...]:
    """Categories as the classes of models count them: things in the order of their ids, then stuff in the order of its ids."""
    return tuple(sorted(categories, key=lambda category: (not category.isthing, category.id)))


def things_first(categories: Iterable[Category]) -> dict[int, int]:
    """Category id → class index, as in ``in_class_order``."""
    return {category.id: rank for rank, category in enumerate(in_class_order(categories))}


class VideoMapSource(Published):
    """A set of videos whose every pixel is labelled; ``categories`` is the published table (``None`` = only its files know)."""

    name: str

    def read(self) -> CategoryTable:
        """Read what the set is; nothing is decoded."""
        raise NotImplementedError

    @property
    def category_names(self) -> tuple[str, ...] | None:
        """Names of the published table in the order of the classes."""
        return None if self.categories is None else tuple(category.name for category in in_class_order(self.categories))

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names in the order of the classes, those of the files where no table is published; errors as ``read``."""
        return self.category_names or tuple(category.name for category in in_class_order(self.read().categories))


@dataclass(frozen=True)
class PanopticVideoSource(VideoMapSource):
    """A VIPSeg file with its folders."""

    name: str
    json_path: Path
    png_root: Path
    image_root: Path
    categories: tuple[Category, ...] | None = None

    def read(self, require_annotations: bool = False) -> PanopticVideoDataset:
        """Read and check the annotation file; errors as ``read_vipseg``."""
        check_present(self.name, self.json_path, self.json_path.is_file())
        return read_vipseg(self.json_path, self.png_root, self.image_root, require_annotations=require_annotations)


@dataclass(frozen=True)
class SemanticVideoSource(VideoMapSource):
    """A split in the layout of VSPW."""

    name: str
    root: Path
    split: str
    categories: tuple[Category, ...] | None = None

    @property
    def split_file(self) -> Path:
        """The list of the videos."""
        return self.root / f"{self.split}.txt"

    def read(self) -> SemanticVideoDataset:
        """Find the files; errors as ``read_vspw``."""
        check_present(self.name, self.split_file, self.split_file.is_file())
        return read_vspw(self.root, self.split, self.categories)


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
    return find_source(name, _panoptic(), "ANNOTATIONS.json:PNG_FOLDER:IMAGES", PanopticVideoSource)


def resolve_semantic_videos(name: str) -> SemanticVideoSource:
    """Find a video semantic set by registered name, or ``FOLDER:SPLIT``; nothing is read.

    Raises: ConfigError for a name that is neither, suggesting the nearest one.
    """
    return find_source(name, _semantic(), "FOLDER:SPLIT", lambda own, root, split: SemanticVideoSource(own, root, str(split)))
