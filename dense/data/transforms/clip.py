"""Augmentations whose draw is shared by the frames of a clip: crop, flip, rotation; and doing any of them by chance."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from dense.data.transforms.base import ClipAugmentation, ClipPipeline, Size, Transform
from dense.data.transforms.geometry import Crop, Flip, Rotate
from dense.errors import ConfigError

__all__ = ["ClipChance", "ClipCrop", "ClipFlip", "ClipRotation", "CropType", "PseudoRotation"]

CropType = Literal["absolute", "absolute_range", "relative", "relative_range"]


@dataclass(frozen=True)
class ClipChance:
    """All of ``augmentations`` with the given probability, decided once for the whole clip; otherwise nothing."""

    augmentations: tuple[ClipAugmentation, ...]
    probability: float = 0.5

    def sample(self, sizes: Sequence[Size], rng: np.random.Generator) -> list[list[Transform]]:
        """The transforms of ``augmentations``, or empty lists."""
        if rng.uniform() >= self.probability:
            return [[] for _ in sizes]
        return ClipPipeline(self.augmentations).sample(sizes, rng)


@dataclass(frozen=True)
class ClipCrop:
    """Crop all frames to the same drawn size at the same drawn place.

    Args:
        type: how ``size`` is read. "absolute": (height, width) in pixels. "absolute_range": height and width are drawn
            independently, each from [min(side, size[0]), min(side, size[1])]. "relative": fractions (of the height, of
            the width). "relative_range": each fraction is drawn uniformly from [size[i], 1].
        size: two numbers.

    A crop is never larger than the frame. Frames of different sizes share the draw, not the pixels.
    Raises: ConfigError for an unknown type or impossible sizes.
    """

    type: CropType
    size: tuple[float, float]

    def __post_init__(self) -> None:
        if self.type not in get_args(CropType):
            raise ConfigError(f"INPUT.PSEUDO.CROP.TYPE: '{self.type}', expected one of {', '.join(get_args(CropType))}.")
        relative = self.type.startswith("relative")
        if len(self.size) != 2 or min(self.size) <= 0 or (relative and max(self.size) > 1):
            expected = "two fractions in (0, 1]" if relative else "two lengths in pixels"
            raise ConfigError(f"INPUT.PSEUDO.CROP.SIZE: {tuple(self.size)}, type '{self.type}' expects {expected}.")
        if self.type == "absolute_range" and self.size[0] > self.size[1]:
            raise ConfigError(f"INPUT.PSEUDO.CROP.SIZE: {tuple(self.size)}, expected the smaller length first.")

    def sample(self, sizes: Sequence[Size], rng: np.random.Generator) -> list[list[Transform]]:
        """One :class:`Crop` for each frame."""
        extent = rng.uniform(size=2)
        place = rng.uniform(size=2)
        return [[self._frame(size, extent, place)] for size in sizes]

    def _frame(self, size: Size, extent: np.ndarray, place: np.ndarray) -> Crop:
        height, width = (self._length(side, axis, float(extent[axis])) for axis, side in enumerate(size))
        top = int(place[0] * (size[0] - height + 1))
        left = int(place[1] * (size[1] - width + 1))
        return Crop(top, left, height, width)

    def _length(self, side: int, axis: int, extent: float) -> int:
        if self.type == "absolute":
            return min(side, int(self.size[axis]))
        if self.type == "absolute_range":
            low, high = (min(side, int(limit)) for limit in self.size)
            return low + int(extent * (high - low + 1))
        fraction = self.size[axis]
        if self.type == "relative_range":
            fraction += (1 - fraction) * extent
        return min(side, max(1, math.floor(side * fraction + 0.5)))


@dataclass(frozen=True)
class ClipFlip:
    """Mirror frames with a probability; decided once for the clip, or for each frame unless ``by_clip``."""

    probability: float = 0.5
    by_clip: bool = True
    direction: Literal["horizontal", "vertical"] = "horizontal"

    def sample(self, sizes: Sequence[Size], rng: np.random.Generator) -> list[list[Transform]]:
        """One :class:`Flip`, or nothing, for each frame."""
        drawn = rng.uniform(size=1 if self.by_clip else len(sizes)) < self.probability
        return [[Flip(self.direction)] if flipped else [] for flipped in np.broadcast_to(drawn, len(sizes))]


@dataclass(frozen=True)
class ClipRotation:
    """Turn frames by an angle uniform in ``angles`` degrees about a centre uniform in ``centre`` (fractions, both axes)."""

    angles: tuple[float, float] = (-15.0, 15.0)
    centre: tuple[float, float] = (0.4, 0.6)
    by_clip: bool = True

    def sample(self, sizes: Sequence[Size], rng: np.random.Generator) -> list[list[Transform]]:
        """One :class:`Rotate` for each frame."""
        draws = 1 if self.by_clip else len(sizes)
        angles = np.broadcast_to(rng.uniform(*self.angles, size=draws), len(sizes))
        centres = np.broadcast_to(rng.uniform(*self.centre, size=(draws, 2)), (len(sizes), 2))
        return [[Rotate(float(a), (float(x), float(y)))] for a, (x, y) in zip(angles, centres, strict=True)]


@dataclass(frozen=True)
class PseudoRotation:
    """Apparent motion for the equal frames of a pseudo clip: one angle per frame, sorted, about a common centre.

    Angles in degrees; the order is reversed with probability 0.5, so that both directions of turning occur.
    """

    angles: tuple[float, float] = (-15.0, 15.0)
    centre: tuple[float, float] = (0.4, 0.6)

    def sample(self, sizes: Sequence[Size], rng: np.random.Generator) -> list[list[Transform]]:
        """One :class:`Rotate` for each frame."""
        angles = np.sort(rng.uniform(*self.angles, size=len(sizes)))
        x, y = rng.uniform(*self.centre, size=2)
        if rng.uniform() < 0.5:
            angles = angles[::-1]
        return [[Rotate(float(angle), (float(x), float(y)))] for angle in angles]
