"""Transforms that move pixels: resize, crop, pad, flip, rotate. Images are interpolated, masks never."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dense.data.transforms.base import Size

__all__ = ["Crop", "Flip", "Pad", "Resize", "Rotate"]


@dataclass(frozen=True)
class Resize:
    """Bring a frame to ``height`` x ``width`` pixels: Pillow's bilinear filter for images, nearest for masks."""

    height: int
    width: int

    def output_size(self, size: Size) -> Size:
        """The stated size."""
        return self.height, self.width

    def apply_image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """``(H, W, 3)`` -> ``(height, width, 3)``."""
        if image.shape[:2] == (self.height, self.width):
            return image
        resized = Image.fromarray(image).resize((self.width, self.height), Image.Resampling.BILINEAR)
        return np.asarray(resized)

    def apply_masks(self, masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """``(N, H, W)`` -> ``(N, height, width)``."""
        if masks.shape[1:] == (self.height, self.width):
            return masks
        rows = _nearest(masks.shape[1], self.height)
        columns = _nearest(masks.shape[2], self.width)
        return masks.take(rows, axis=1).take(columns, axis=2)

    def apply_boxes(self, boxes: NDArray[np.float64], size: Size) -> NDArray[np.float64]:
        """``(N, 4)`` -> ``(N, 4)``."""
        return boxes * np.asarray([self.width / size[1], self.height / size[0]] * 2)


def _nearest(length: int, target: int) -> NDArray[np.intp]:
    """Source index of each of ``target`` cells: the one under the cell's centre.

    The positions are summed step by step, as Pillow does, so that ties fall to the same side as in Pillow.
    """
    step = length / target
    steps = np.full(target, step)
    steps[0] = step * 0.5
    return np.minimum(np.cumsum(steps).astype(np.intp), length - 1)


@dataclass(frozen=True)
class Crop:
    """Keep the ``height`` x ``width`` pixels whose upper left corner is (``top``, ``left``)."""

    top: int
    left: int
    height: int
    width: int

    def output_size(self, size: Size) -> Size:
        """Size of the part that lies inside the frame."""
        return min(self.height, size[0] - self.top), min(self.width, size[1] - self.left)

    def apply_image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """``(H, W, 3)`` -> ``(height, width, 3)``."""
        return image[self.top : self.top + self.height, self.left : self.left + self.width]

    def apply_masks(self, masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """``(N, H, W)`` -> ``(N, height, width)``."""
        return masks[:, self.top : self.top + self.height, self.left : self.left + self.width]

    def apply_boxes(self, boxes: NDArray[np.float64], size: Size) -> NDArray[np.float64]:
        """``(N, 4)`` -> ``(N, 4)``."""
        return boxes - np.asarray([self.left, self.top] * 2, np.float64)


@dataclass(frozen=True)
class Pad:
    """Extend a frame to at least ``height`` x ``width`` pixels at its right and lower border; grey image, empty masks."""

    height: int
    width: int
    value: int = 128

    def output_size(self, size: Size) -> Size:
        """The larger of both sizes, by side."""
        return max(self.height, size[0]), max(self.width, size[1])

    def apply_image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """``(H, W, 3)`` -> ``(max(H, height), max(W, width), 3)``."""
        below, right = self._missing(image.shape[0], image.shape[1])
        return np.pad(image, ((0, below), (0, right), (0, 0)), constant_values=self.value)

    def apply_masks(self, masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """``(N, H, W)`` -> ``(N, max(H, height), max(W, width))``."""
        below, right = self._missing(masks.shape[1], masks.shape[2])
        return np.pad(masks, ((0, 0), (0, below), (0, right)))

    def apply_boxes(self, boxes: NDArray[np.float64], size: Size) -> NDArray[np.float64]:
        """Nothing is added to the left or above: returned as they are."""
        return boxes

    def _missing(self, height: int, width: int) -> Size:
        return max(self.height - height, 0), max(self.width - width, 0)


@dataclass(frozen=True)
class Flip:
    """Mirror a frame: "horizontal" exchanges left and right, "vertical" up and down."""

    direction: Literal["horizontal", "vertical"] = "horizontal"

    def output_size(self, size: Size) -> Size:
        """Unchanged."""
        return size

    def apply_image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """``(H, W, 3)`` -> ``(H, W, 3)``."""
        return image[:, ::-1] if self.direction == "horizontal" else image[::-1]

    def apply_masks(self, masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """``(N, H, W)`` -> ``(N, H, W)``."""
        return masks[:, :, ::-1] if self.direction == "horizontal" else masks[:, ::-1]

    def apply_boxes(self, boxes: NDArray[np.float64], size: Size) -> NDArray[np.float64]:
        """``(N, 4)`` -> ``(N, 4)``."""
        first, length = (0, size[1]) if self.direction == "horizontal" else (1, size[0])
        flipped = boxes.copy()
        flipped[:, first], flipped[:, first + 2] = length - boxes[:, first + 2], length - boxes[:, first]
        return flipped


@dataclass(frozen=True)
class Rotate:
    """Turn a frame counter-clockwise by ``angle`` degrees about ``centre`` = (x, y), fractions of width and height.

    The frame keeps its size; what comes from outside is black in the image and empty in the masks.
    """

    angle: float
    centre: tuple[float, float] = (0.5, 0.5)

    def output_size(self, size: Size) -> Size:
        """Unchanged."""
        return size

    def apply_image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """``(H, W, 3)`` -> ``(H, W, 3)``, bilinear."""
        return self._turn(image, Image.Resampling.BILINEAR)

    def apply_masks(self, masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """``(N, H, W)`` -> ``(N, H, W)``, nearest."""
        turned = np.zeros_like(masks)
        for n, mask in enumerate(masks):
            if mask.any():
                turned[n] = self._turn(mask.astype(np.uint8), Image.Resampling.NEAREST) > 0
        return turned

    def apply_boxes(self, boxes: NDArray[np.float64], size: Size) -> NDArray[np.float64]:
        """``(N, 4)`` -> ``(N, 4)``: the smallest box around the four turned corners."""
        centre = np.asarray([self.centre[0] * size[1], self.centre[1] * size[0]])
        angle = np.deg2rad(self.angle)
        turn = np.asarray([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])  # the y axis points down
        corners = boxes[:, [[0, 1], [2, 1], [2, 3], [0, 3]]]  # (N, 4, 2)
        turned = (corners - centre) @ turn.T + centre
        return np.concatenate([turned.min(axis=1), turned.max(axis=1)], axis=1)

    def _turn(self, pixels: NDArray[np.uint8], resampling: Image.Resampling) -> NDArray[np.uint8]:
        height, width = pixels.shape[:2]
        centre = (self.centre[0] * width, self.centre[1] * height)
        return np.asarray(Image.fromarray(pixels).rotate(self.angle, resampling, center=centre))
