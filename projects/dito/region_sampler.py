"""Boxes drawn without labels: regions of the second pretraining stage, and crops of the learnt positions (DITO §4, §5)."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from dense.errors import ConfigError
from dense.registry import Registry

__all__ = ["REGION_SAMPLERS", "RandomBoxes", "grid_boxes", "random_and_full_boxes", "random_only_boxes"]

_ATTEMPTS = 10  # as torchvision's random resized crop; then the whole area

REGION_SAMPLERS: Registry = Registry("region sampler")
"""Functions of (random boxes, images N, boxes R, side): boxes ``(N, R, 4)``."""


class RandomBoxes:
    """Boxes with area and aspect drawn as in random resized crops: area, logarithm of the aspect and place uniform.

    A box that does not fit is drawn again, ten times in all; then it is the whole area.

    Args:
        area: least and greatest share of the area.
        aspect: least and greatest width / height.

    Raises: ConfigError for a range that is empty, or shares outside (0, 1].
    """

    def __init__(self, area: Iterable[float] = (0.1, 1.0), aspect: Iterable[float] = (0.5, 2.0)) -> None:
        self.area, self.aspect = tuple(area), tuple(aspect)
        if len(self.area) != 2 or not 0 < self.area[0] <= self.area[1] <= 1:
            raise ConfigError(f"area: {self.area}, expected least and greatest share, above 0 to 1.")
        if len(self.aspect) != 2 or not 0 < self.aspect[0] <= self.aspect[1] < math.inf:
            raise ConfigError(f"aspect: {self.aspect}, expected least and greatest width / height, above 0.")

    def __call__(self, count: int, height: float, width: float) -> Tensor:
        """``count`` boxes x1, y1, x2, y2 inside an area, ``(count, 4)`` float32 on the CPU, from torch's generator there."""
        random = torch.rand(4, count, _ATTEMPTS)
        area = height * width * (self.area[0] + (self.area[1] - self.area[0]) * random[0])
        low, high = math.log(self.aspect[0]), math.log(self.aspect[1])
        aspect = torch.exp(low + (high - low) * random[1])
        widths, heights = (area * aspect).sqrt(), (area / aspect).sqrt()
        fits = (widths <= width) & (heights <= height)
        first = fits.int().argmax(1, keepdim=True)  # the first that fits, or 0
        x, y, w, h = (part.gather(1, first)[:, 0] for part in (random[2], random[3], widths, heights))
        boxes = torch.stack([x * (width - w), y * (height - h), x * (width - w) + w, y * (height - h) + h], dim=1)
        limits = boxes.new_tensor([width, height, width, height])
        whole = boxes.new_tensor([0.0, 0.0, width, height])
        return torch.where(fits.any(1, keepdim=True), torch.minimum(boxes, limits), whole)


Sampler = Callable[[RandomBoxes, int, int, int], Tensor]


@REGION_SAMPLERS.register
def random_only_boxes(boxes: RandomBoxes, images: int, count: int, side: int) -> Tensor:
    """R random boxes per image."""
    return boxes(images * count, side, side).view(images, count, 4)


@REGION_SAMPLERS.register
def random_and_full_boxes(boxes: RandomBoxes, images: int, count: int, side: int) -> Tensor:
    """R - 1 random boxes per image and the whole image."""
    drawn = random_only_boxes(boxes, images, count, side)
    drawn[:, -1] = drawn.new_tensor([0.0, 0.0, side, side])
    return drawn


@REGION_SAMPLERS.register
def grid_boxes(boxes: RandomBoxes, images: int, count: int, side: int) -> Tensor:
    """g × g equal cells, the same in every image; R must be a square. Raises: ConfigError otherwise."""
    cells = math.isqrt(count)
    if cells**2 != count:
        raise ConfigError(f"MODEL.DITO.PRETRAIN.REGIONS: {count}, expected a square number (g x g cells) for grid_boxes.")
    edges = torch.arange(cells + 1) * (side / cells)
    y1, x1 = torch.meshgrid(edges[:-1], edges[:-1], indexing="ij")
    y2, x2 = torch.meshgrid(edges[1:], edges[1:], indexing="ij")
    return torch.stack([x1, y1, x2, y2], dim=2).flatten(0, 1).expand(images, -1, -1).clone()
