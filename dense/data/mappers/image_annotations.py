"""What an annotated image says to a segmenter: class and mask of each region, from any of the three annotation formats."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from dense.data.formats.coco import ImageDataset, ImageObject, ImageRecord
from dense.data.formats.coco_panoptic import PanopticDataset, PanopticRecord
from dense.data.formats.semantic_maps import SemanticDataset, SemanticRecord
from dense.data.transforms import Size
from dense.structures import rle

__all__ = ["ImageAnnotations", "InstanceAnnotations", "PanopticAnnotations", "Regions", "SemanticAnnotations"]


@dataclass(frozen=True)
class Regions:
    """The regions of one image: ``labels`` ``(N,)`` int64 class indices, ``masks`` ``(N, H, W)`` bool."""

    labels: NDArray[np.int64]
    masks: NDArray[np.bool_]


class ImageAnnotations(Protocol):
    """A training set of images, addressed by index."""

    def __len__(self) -> int:
        """Number of images."""
        ...

    def path(self, index: int) -> Path:
        """Picture file."""
        ...

    def stated_size(self, index: int) -> Size | None:
        """(height, width) in pixels that the annotations state, ``None`` if they state none."""
        ...

    def regions(self, index: int, size: Size) -> Regions:
        """Regions of an image of this size. Raises: DataError naming the file that does not fit."""
        ...


Record = TypeVar("Record", ImageRecord, PanopticRecord)
Given = TypeVar("Given", ImageRecord, PanopticRecord, contravariant=True)


class _Listing(Protocol[Given]):
    """An annotation file that lists its images."""

    def image_path(self, image: Given) -> Path: ...


@dataclass(frozen=True)
class _Listed(Generic[Record]):
    """What all annotation files that list their images with their sizes have in common."""

    dataset: _Listing[Record]
    images: Sequence[Record]

    def __len__(self) -> int:
        return len(self.images)

    def path(self, index: int) -> Path:
        """Picture file."""
        return self.dataset.image_path(self.images[index])

    def stated_size(self, index: int) -> Size | None:
        """As the file states."""
        return self.images[index].height, self.images[index].width


@dataclass(frozen=True)
class InstanceAnnotations(_Listed[ImageRecord]):
    """Objects of a COCO instances file; crowds are left out.

    ``classes``: category id → class index, objects of other categories being left out; ``None`` = the file's own classes.
    """

    dataset: ImageDataset
    classes: Mapping[int, int] | None = None

    def regions(self, index: int, size: Size) -> Regions:
        """One per object that is no crowd."""
        wanted = self.usable(index)
        masks = [rle.decode(item.segmentation) for item in wanted if item.segmentation is not None]
        return _regions([self.class_of(item) for item in wanted], masks, size)

    def usable(self, index: int, masks: bool = True) -> list[ImageObject]:
        """The objects to learn from: no crowds, of a wanted class, with a mask if ``masks``."""
        known = self._known()
        return [
            item
            for item in self.images[index].objects
            if not item.iscrowd and item.category_id in known and not (masks and item.segmentation is None)
        ]

    def class_of(self, item: ImageObject) -> int:
        """Class index of a usable object."""
        return self._known()[item.category_id]

    def _known(self) -> Mapping[int, int]:
        return self.dataset.contiguous_ids if self.classes is None else self.classes


@dataclass(frozen=True)
class PanopticAnnotations(_Listed[PanopticRecord]):
    """Things and stuff of a COCO panoptic file; crowds are left out."""

    dataset: PanopticDataset

    def regions(self, index: int, size: Size) -> Regions:
        """One per segment that is no crowd."""
        image = self.images[index]
        ids = self.dataset.ids(image)
        wanted = [segment for segment in image.segments if not segment.iscrowd]
        labels = [self.dataset.contiguous_id(segment.category_id) for segment in wanted]
        return _regions(labels, [ids == segment.id for segment in wanted], size)


@dataclass(frozen=True)
class SemanticAnnotations:
    """Classes of label maps; unlabelled pixels belong to no region."""

    dataset: SemanticDataset
    images: Sequence[SemanticRecord]

    def __len__(self) -> int:
        return len(self.images)

    def path(self, index: int) -> Path:
        """Picture file."""
        return self.images[index].image_path

    def stated_size(self, index: int) -> Size | None:
        """Nothing states it: the label map must fit the picture."""
        return None

    def regions(self, index: int, size: Size) -> Regions:
        """One per class that occurs."""
        values = self.dataset.labels(self.images[index], size)
        labels = [int(v) for v in np.unique(values) if v != self.dataset.ignore_label]
        return _regions(labels, [values == label for label in labels], size)


def _regions(labels: list[int], masks: list[NDArray[np.bool_]], size: Size) -> Regions:
    stacked = np.stack(masks) if masks else np.zeros((0, *size), bool)
    return Regions(np.asarray(labels, np.int64), stacked)
