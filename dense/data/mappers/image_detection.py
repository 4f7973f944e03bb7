"""From an annotated image to what a detector reads in training: boxes and, if it wants them, masks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dense.data.formats.coco import ImageObject
from dense.data.mappers.image_annotations import InstanceAnnotations
from dense.data.mappers.image_reading import image_tensor, read_image
from dense.data.transforms import ClipAugmentation, Crop, Size, Transform, apply_to_boxes
from dense.structures import rle

__all__ = ["DetectionMapper", "DetectionTargets"]

_LEAST_SIDE = 1e-5  # pixels; what a crop leaves of a box may be this thin


@dataclass(frozen=True)
class DetectionTargets:
    """Objects of a training image, none of them empty.

    Attributes:
        size: (height, width) of the image, pixels.
        boxes: ``(N, 4)`` float32: x1, y1, x2, y2 in pixels, inside the image.
        labels: ``(N,)`` int64 class indices.
        masks: ``(N, H, W)`` bool, or ``None`` for a detector without masks.
    """

    size: Size
    boxes: Tensor
    labels: Tensor
    masks: Tensor | None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class DetectionMapper:
    """Read an image with its objects and augment them together; crowds are left out.

    Args:
        annotations: the images.
        augmentation: draws the transforms; it sees the image as a clip of one frame.
        masks: give masks too; objects that have only a box are left out then.
        bgr: give channels in the order blue, green, red.
    """

    annotations: InstanceAnnotations
    augmentation: ClipAugmentation
    masks: bool
    bgr: bool = False

    def __call__(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Map one image; every random choice comes from ``rng``.

        Boxes follow the transforms; after a crop, those of objects with masks are drawn anew around what is left of them, as
        Detectron2 does.

        Returns: dict with ``image`` ``(3, H, W)`` uint8, ``instances`` (:class:`DetectionTargets`; there may be none),
            ``height``, ``width`` (of the original, pixels) and ``file_name``.
        Raises: DataError naming the file.
        """
        path = self.annotations.path(index)
        image = read_image(path, self.annotations.stated_size(index))
        size = (image.shape[0], image.shape[1])
        objects = self.annotations.usable(index, self.masks)
        (transforms,) = self.augmentation.sample([size], rng)
        for transform in transforms:
            image = transform.apply_image(image)
        return {
            "image": image_tensor(image, self.bgr),
            "instances": self._targets(objects, transforms, size),
            "height": size[0],
            "width": size[1],
            "file_name": str(path),
        }

    def _targets(self, objects: Sequence[ImageObject], transforms: Sequence[Transform], size: Size) -> DetectionTargets:
        boxes, end = apply_to_boxes(transforms, _corners(objects), size)
        labels = np.asarray([self.annotations.class_of(item) for item in objects], np.int64)
        kept = (boxes[:, 2:] - boxes[:, :2] > _LEAST_SIDE).all(axis=1)
        masks = None
        if self.masks:
            masks = _masks(objects, transforms, size, end)
            kept &= masks.any(axis=(1, 2))
            masks = masks[kept]
        boxes = boxes[kept]
        if masks is not None and any(isinstance(transform, Crop) for transform in transforms):
            boxes = _around(masks)
        return DetectionTargets(
            size=end,
            boxes=torch.from_numpy(boxes.astype(np.float32)),
            labels=torch.from_numpy(labels[kept]),
            masks=None if masks is None else torch.from_numpy(np.ascontiguousarray(masks)),
        )


def _corners(objects: Sequence[ImageObject]) -> NDArray[np.float64]:
    boxes = np.asarray([item.box for item in objects], np.float64).reshape(-1, 4)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def _masks(objects: Sequence[ImageObject], transforms: Sequence[Transform], size: Size, end: Size) -> NDArray[np.bool_]:
    """``(N, H, W)``, transformed one by one: together they would take N times a photo's memory before it is made smaller."""
    masks = np.zeros((len(objects), *end), bool)
    for place, item in enumerate(objects):
        mask = np.zeros((1, *size), bool) if item.segmentation is None else rle.decode(item.segmentation)[None]
        for transform in transforms:
            mask = transform.apply_masks(mask)
        masks[place] = mask[0]
    return masks


def _around(masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Boxes ``(N, 4)`` around the pixels of masks that are not empty."""
    boxes = np.zeros((len(masks), 4))
    for box, mask in zip(boxes, masks, strict=True):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box[:] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return boxes
