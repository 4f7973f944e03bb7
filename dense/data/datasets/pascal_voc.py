"""Pascal VOC's detection sets by Detectron2's names: ``voc_2007_trainval`` and so on, under ``VOC2007`` and ``VOC2012``."""

from dataclasses import dataclass, replace
from pathlib import Path

from dense.data.datasets.sources import Published, check_present
from dense.data.datasets.video_instances import datasets_root
from dense.data.formats.category_table import Category
from dense.data.formats.coco import ImageDataset
from dense.data.formats.pascal_voc import read_voc
from dense.errors import DataError

__all__ = ["VOC", "VocSource", "voc_sources"]

_NAMES = (
    "aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, diningtable, dog, horse, motorbike, person,"
    " pottedplant, sheep, sofa, train, tvmonitor"
)
VOC = tuple(Category(place, name) for place, name in enumerate(_NAMES.split(", "), start=1))
"""20 categories in the order of the alphabet, which is that of published models."""

_SPLITS = {2007: ("trainval", "train", "val", "test"), 2012: ("trainval", "train", "val")}


@dataclass(frozen=True)
class VocSource(Published):
    """A split of one year; ``limit`` is as for ``InstanceSource``."""

    name: str
    root: Path
    split: str
    year: int
    categories: tuple[Category, ...] | None = VOC
    limit: int | None = None

    def read(self, require_annotations: bool = False, masks: bool = False) -> ImageDataset:
        """Read and check the annotations; they are boxes, so ``masks`` leaves no object. Errors as ``read_voc``."""
        check_present(self.name, self.root, self.root.is_dir())
        if masks:
            raise DataError(f"data set {self.name!r}: has boxes only. Set MODEL.MASK_ON False, or choose another data set.")
        whole = read_voc(self.root, self.split, [category.name for category in VOC])
        return whole if self.limit is None else replace(whole, images=whole.images[: self.limit])


def voc_sources() -> dict[str, VocSource]:
    """All registered splits by name."""
    root = datasets_root()
    sources = [
        VocSource(f"voc_{year}_{split}", root / f"VOC{year}", split, year)
        for year, splits in _SPLITS.items()
        for split in splits
    ]
    return {source.name: source for source in sources}
