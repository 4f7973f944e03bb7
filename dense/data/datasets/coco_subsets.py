"""COCO instances reduced to the categories of a video set (``coco2ytvis2019_train`` …): stills to train video models with.

Read from ``coco/annotations/coco2ytvis2019_train.json`` where that file has been made (by the converter of SeqFormer, VITA or
DVIS), else from COCO's own ``instances_train2017.json``, whose other annotations are left out; the pictures are COCO's.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

from dense.data.datasets.categories import OVIS, YTVIS_2019, YTVIS_2021
from dense.data.datasets.category_maps import COCO_TO_VIDEO
from dense.data.datasets.image_categories import COCO_THINGS
from dense.data.datasets.images import InstanceSource
from dense.data.datasets.video_instances import datasets_root
from dense.data.formats.coco import ImageDataset

__all__ = ["CocoSubset", "coco_subsets"]

_TARGETS = {"coco2ytvis2019": YTVIS_2019, "coco2ytvis2021": YTVIS_2021, "coco2ovis": OVIS}


@dataclass(frozen=True)
class CocoSubset(InstanceSource):
    """A part of COCO; ``whole`` is the file with all of it, ``kept`` the ids of the categories of the part."""

    whole: Path = field(kw_only=True)
    kept: frozenset[int] = field(kw_only=True)

    def read(self, require_annotations: bool = False, masks: bool = True) -> ImageDataset:
        """Read and check the annotation file of the part, or take the part of the whole; see ``InstanceSource``."""
        if self.json_path.is_file() or not self.whole.is_file():
            return super().read(require_annotations, masks)
        source = InstanceSource(self.name, self.whole, self.image_root, self.categories)
        dataset = source.read(require_annotations, masks)
        images = tuple(
            replace(image, objects=tuple(item for item in image.objects if item.category_id in self.kept))
            for image in dataset.images
        )
        return self.first(replace(dataset, images=images))


def coco_subsets() -> dict[str, CocoSubset]:
    """All registered parts by name."""
    coco = datasets_root() / "coco"
    sources = [
        CocoSubset(
            f"{name}_{split}",
            coco / f"annotations/{name}_{split}.json",
            coco / f"{split}2017",
            COCO_THINGS,
            whole=coco / f"annotations/instances_{split}2017.json",
            kept=frozenset(COCO_TO_VIDEO[names]),
        )
        for name, names in _TARGETS.items()
        for split in ("train", "val")
    ]
    return {source.name: source for source in sources}
