"""The two ideas of augmentation: a transform is drawn values, an augmentation draws them for a whole clip."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["ClipAugmentation", "ClipPipeline", "Size", "Transform", "apply_to_boxes", "apply_transforms"]

Size = tuple[int, int]
"""(height, width) in pixels."""


class Transform(Protocol):
    """A deterministic change of one frame."""

    def output_size(self, size: Size) -> Size:
        """Size in pixels of the changed frame, given the size of the frame."""
        ...

    def apply_image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Change an image ``(H, W, 3)``."""
        ...

    def apply_masks(self, masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Change masks ``(N, H, W)`` in the same way; N may be 0."""
        ...

    def apply_boxes(self, boxes: NDArray[np.float64], size: Size) -> NDArray[np.float64]:
        """Change boxes ``(N, 4)`` (x1, y1, x2, y2 in pixels) of a frame of this size in the same way; they may end outside."""
        ...


class ClipAugmentation(Protocol):
    """Draws the transforms of all frames of a clip at once.

    Only the sizes of the frames are known when drawing, never their pixels: a clip's transforms can then be drawn,
    printed and compared without decoding anything.
    """

    def sample(self, sizes: Sequence[Size], rng: np.random.Generator) -> list[list[Transform]]:
        """Transforms, in order of application, for each of the T frames of the given sizes."""
        ...


@dataclass(frozen=True)
class ClipPipeline:
    """Augmentations one after the other; each sees the frame sizes the previous ones leave."""

    augmentations: tuple[ClipAugmentation, ...]

    def sample(self, sizes: Sequence[Size], rng: np.random.Generator) -> list[list[Transform]]:
        """Transforms of all augmentations, for each frame."""
        current = list(sizes)
        transforms: list[list[Transform]] = [[] for _ in current]
        for augmentation in self.augmentations:
            for t, drawn in enumerate(augmentation.sample(current, rng)):
                transforms[t].extend(drawn)
                for transform in drawn:
                    current[t] = transform.output_size(current[t])
        return transforms


def apply_transforms(
    transforms: Sequence[Transform], image: NDArray[np.uint8], masks: NDArray[np.bool_]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Change an image ``(H, W, 3)`` and its masks ``(N, H, W)`` by all transforms in order."""
    for transform in transforms:
        image = transform.apply_image(image)
        masks = transform.apply_masks(masks)
    return image, masks


def apply_to_boxes(transforms: Sequence[Transform], boxes: NDArray[np.float64], size: Size) -> tuple[NDArray[np.float64], Size]:
    """Change boxes ``(N, 4)`` (x1, y1, x2, y2 in pixels) by all transforms in order.

    Returns: what of them lies inside the frame after each transform (it may be nothing: sides of 0), and the last size.
    """
    for transform in transforms:
        boxes = transform.apply_boxes(boxes, size)
        size = transform.output_size(size)
        boxes = boxes.clip(0, [size[1], size[0]] * 2)
    return boxes, size
