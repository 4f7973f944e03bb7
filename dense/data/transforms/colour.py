"""Brightness, contrast and saturation as one transform: a blend of the image with a plain reference of itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dense.data.transforms.base import Size, Transform

__all__ = ["ClipColour", "ColourBlend", "ColourProperty"]

ColourProperty = Literal["brightness", "contrast", "saturation"]
_LUMA = np.asarray([0.299, 0.587, 0.114], dtype=np.float32)  # of red, green, blue (ITU-R BT.601)


@dataclass(frozen=True)
class ColourBlend:
    """``weight * image + (1 - weight) * reference``, rounded and clipped to [0, 255]; weight 1 changes nothing.

    The reference is black ("brightness"), the image's mean value ("contrast") or its grey version ("saturation").
    """

    property: ColourProperty
    weight: float

    def output_size(self, size: Size) -> Size:
        """Unchanged."""
        return size

    def apply_image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """``(H, W, 3)`` RGB -> ``(H, W, 3)``."""
        pixels = image.astype(np.float32)
        blended = np.float32(self.weight) * pixels
        if self.property == "contrast":
            blended += np.float32((1 - self.weight) * float(pixels.mean()))
        elif self.property == "saturation":
            blended += np.float32(1 - self.weight) * (pixels @ _LUMA)[..., None]
        return np.clip(np.rint(blended), 0, 255).astype(np.uint8)

    def apply_masks(self, masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Masks have no colour: returned as they are."""
        return masks

    def apply_boxes(self, boxes: NDArray[np.float64], size: Size) -> NDArray[np.float64]:
        """Nor have boxes."""
        return boxes


@dataclass(frozen=True)
class ClipColour:
    """Blend with a weight uniform in ``weights``; one weight for the clip, or one per frame unless ``by_clip``."""

    property: ColourProperty
    weights: tuple[float, float] = (0.9, 1.1)
    by_clip: bool = True

    def sample(self, sizes: Sequence[Size], rng: np.random.Generator) -> list[list[Transform]]:
        """One :class:`ColourBlend` for each frame."""
        drawn = rng.uniform(*self.weights, size=1 if self.by_clip else len(sizes))
        weights = np.broadcast_to(drawn, len(sizes))
        return [[ColourBlend(self.property, float(weight))] for weight in weights]
