"""Augmentations of scale: shortest-edge resizing and large-scale jitter (with the fixed-size crop that belongs to it)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from dense.data.transforms.base import Size, Transform
from dense.data.transforms.geometry import Crop, Pad, Resize
from dense.errors import ConfigError

__all__ = ["LargeScaleJitter", "ResizeShortestEdge", "ResizeStyle", "shortest_edge_size"]

ResizeStyle = Literal["choice", "range", "choice_by_clip", "range_by_clip"]


def shortest_edge_size(size: Size, shortest: int, longest: int | None = None) -> Size:
    """Size with the given shortest edge and the same shape, smaller if its longest edge would exceed ``longest``.

    All in pixels. The shortest edge is exact unless ``longest`` binds; other sides are ``floor(x + 0.5)``, at least 1.
    """
    height, width = size
    scale = shortest / min(height, width)
    target = [height * scale, width * scale]
    target[0 if height <= width else 1] = float(shortest)
    if longest is not None and max(target) > longest:
        shrink = longest / max(target)
        target = [side * shrink for side in target]
    return max(1, math.floor(target[0] + 0.5)), max(1, math.floor(target[1] + 0.5))


@dataclass(frozen=True)
class ResizeShortestEdge:
    """Resize so that the shortest edge has a drawn length.

    Args:
        sizes: lengths in pixels: the choices ("choice…"), or the two ends of a range, both included ("range…").
        max_size: limit of the longest edge in pixels; None for no limit.
        style: "…_by_clip" draws once for the clip, otherwise once for each frame.

    Raises: ConfigError for an unknown style, no sizes, or a range without exactly two ends.
    """

    sizes: tuple[int, ...]
    max_size: int | None = None
    style: ResizeStyle = "choice_by_clip"

    def __post_init__(self) -> None:
        if self.style not in get_args(ResizeStyle):
            raise ConfigError(
                f"INPUT.MIN_SIZE_TRAIN_SAMPLING: '{self.style}', expected one of {', '.join(get_args(ResizeStyle))}."
            )
        if not self.sizes or min(self.sizes) < 1:
            raise ConfigError(f"INPUT.MIN_SIZE_TRAIN: {self.sizes}, expected one or more lengths of at least 1 pixel.")
        if self.style.startswith("range") and (len(self.sizes) != 2 or self.sizes[0] > self.sizes[1]):
            raise ConfigError(f"INPUT.MIN_SIZE_TRAIN: {self.sizes}, style '{self.style}' needs two ends, smaller first.")

    def sample(self, sizes: Sequence[Size], rng: np.random.Generator) -> list[list[Transform]]:
        """One :class:`Resize` for each frame."""
        draws = 1 if self.style.endswith("_by_clip") else len(sizes)
        if self.style.startswith("range"):
            drawn = rng.integers(self.sizes[0], self.sizes[1] + 1, size=draws)
        else:
            drawn = np.asarray(self.sizes)[rng.integers(len(self.sizes), size=draws)]
        shortest = np.broadcast_to(drawn, len(sizes))
        return [[Resize(*shortest_edge_size(size, int(s), self.max_size))] for size, s in zip(sizes, shortest, strict=True)]


@dataclass(frozen=True)
class LargeScaleJitter:
    """Fit a frame into a square canvas scaled by a factor drawn for the clip, then crop and pad to the canvas itself.

    Args:
        image_size: side of the canvas in pixels.
        scales: ends of the uniform range of the factor.
        pad: fill the canvas; without it a model pads in its own colour.
    """

    image_size: int = 1024
    scales: tuple[float, float] = (0.1, 2.0)
    pad: bool = True

    def sample(self, sizes: Sequence[Size], rng: np.random.Generator) -> list[list[Transform]]:
        """:class:`Resize`, :class:`Crop` and perhaps :class:`Pad` for each frame; scale and relative position are shared."""
        scale = rng.uniform(*self.scales)
        across, down = rng.uniform(size=2)
        return [self._frame(size, scale, across, down) for size in sizes]

    def _frame(self, size: Size, scale: float, across: float, down: float) -> list[Transform]:
        canvas = self.image_size
        fit = min(canvas * scale / size[0], canvas * scale / size[1])
        height, width = (max(1, math.floor(side * fit + 0.5)) for side in size)
        top = int(down * (max(height - canvas, 0) + 1))
        left = int(across * (max(width - canvas, 0) + 1))
        parts: list[Transform] = [Resize(height, width), Crop(top, left, min(height, canvas), min(width, canvas))]
        return [*parts, Pad(canvas, canvas)] if self.pad else parts
