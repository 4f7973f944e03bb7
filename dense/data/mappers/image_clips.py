"""Training clips made of single images: one picture, augmented anew for each frame, seems to move (MinVIS, DVIS++)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dense.data.mappers.frame_sampling import FrameSampler
from dense.data.mappers.frame_targets import FrameTargets
from dense.data.mappers.image_annotations import ImageAnnotations, Regions
from dense.data.mappers.image_reading import image_tensor, read_image
from dense.data.transforms import ClipAugmentation, apply_transforms

__all__ = ["ImageClipMapper"]

_PRETENDED = (16, 48)  # frames of the video that the image stands for, both included


@dataclass(frozen=True)
class ImageClipMapper:
    """Make a training clip of an annotated image; its regions are the objects of every frame.

    Args:
        annotations: the images.
        sampler: draws the frame numbers of a video of 16 to 48 frames; only their count changes the pictures.
        augmentation: draws the transforms of all frames.
        bgr: give channels in the order blue, green, red.
    """

    annotations: ImageAnnotations
    sampler: FrameSampler
    augmentation: ClipAugmentation
    bgr: bool = False

    def __call__(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Map one image; every random choice comes from ``rng``.

        Returns: the dictionary of ``VideoInstanceMapper``; ``video_id`` is the image's index.
        Raises: DataError naming the file.
        """
        path = self.annotations.path(index)
        image = read_image(path, self.annotations.stated_size(index))
        size = (image.shape[0], image.shape[1])
        regions = self.annotations.regions(index, size)
        length = int(rng.integers(_PRETENDED[0], _PRETENDED[1] + 1))
        frames = self.sampler(length, rng)
        images, targets = [], []
        for transforms in self.augmentation.sample([size] * len(frames), rng):
            changed, masks = apply_transforms(transforms, image, regions.masks)
            images.append(image_tensor(changed, self.bgr))
            targets.append(_targets(regions, torch.from_numpy(np.ascontiguousarray(masks))))
        return {
            "image": images,
            "instances": targets,
            "height": size[0],
            "width": size[1],
            "file_names": [str(path)] * len(frames),
            "frame_idx": frames,
            "video_id": index,
            "length": length,
            "video_len": length,
        }


def _targets(regions: Regions, masks: Tensor) -> FrameTargets:
    """A region that the frame's transforms have moved out of sight keeps its class but not its number."""
    seen = masks.flatten(1).any(1) if len(masks) else torch.zeros(0, dtype=torch.bool)
    return FrameTargets(
        labels=torch.from_numpy(regions.labels),
        ids=torch.where(seen, torch.arange(len(masks)), -1),
        masks=masks,
    )
