"""From an annotated image to what an image segmenter reads in training."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dense.data.mappers.image_annotations import ImageAnnotations
from dense.data.mappers.image_reading import image_tensor, read_image
from dense.data.transforms import ClipAugmentation, apply_transforms

__all__ = ["ImageSegmentationMapper", "ImageTargets"]


@dataclass(frozen=True)
class ImageTargets:
    """Regions of a training image: ``gt_classes`` ``(N,)`` int64, ``gt_masks`` ``(N, H, W)`` bool, none of them empty."""

    gt_classes: Tensor
    gt_masks: Tensor

    def __len__(self) -> int:
        return len(self.gt_classes)


@dataclass(frozen=True)
class ImageSegmentationMapper:
    """Read an image with its regions and augment them together.

    Args:
        annotations: the images.
        augmentation: draws the transforms; it sees the image as a clip of one frame.
        bgr: give channels in the order blue, green, red.
    """

    annotations: ImageAnnotations
    augmentation: ClipAugmentation
    bgr: bool = False

    def __call__(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Map one image; every random choice comes from ``rng``.

        Returns: dict with ``image`` ``(3, H, W)`` uint8, ``instances`` (:class:`ImageTargets`; regions that a crop has cut away
            are left out, so there may be none), ``height``, ``width`` (of the original, pixels) and ``file_name``.
        Raises: DataError naming the file.
        """
        path = self.annotations.path(index)
        image = read_image(path, self.annotations.stated_size(index))
        height, width = image.shape[:2]
        regions = self.annotations.regions(index, (height, width))
        (transforms,) = self.augmentation.sample([(height, width)], rng)
        changed, masks = apply_transforms(transforms, image, regions.masks)
        seen = masks.any(axis=(1, 2))
        targets = ImageTargets(
            gt_classes=torch.from_numpy(regions.labels[seen]), gt_masks=torch.from_numpy(np.ascontiguousarray(masks[seen]))
        )
        return {
            "image": image_tensor(changed, self.bgr),
            "instances": targets,
            "height": height,
            "width": width,
            "file_name": str(path),
        }
