"""Views of an image for pretraining: what is drawn for each (crop, flip, colours), and where it lies in the image.

Only the size of the image is known when drawing. ``view_pixels`` makes the pixels.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from dense.data.transforms.base import Size

__all__ = [
    "VIEW_MODES",
    "ColourRecipe",
    "CropBox",
    "Draws",
    "GeneratorDraws",
    "Jitter",
    "ViewPlan",
    "crop_coordinates",
    "draw_crop",
    "draw_view",
]

_ATTEMPTS = 10
_ASPECTS = (3 / 4, 4 / 3)  # width over height


class Draws(Protocol):
    """A source of random numbers; Python's ``random.Random`` is one."""

    def uniform(self, a: float, b: float) -> float:
        """A number between ``a`` and ``b``."""
        ...

    def randint(self, a: int, b: int) -> int:
        """An integer from ``a`` to ``b``, both included."""
        ...


@dataclass(frozen=True)
class GeneratorDraws:
    """``Draws`` of NumPy's generator."""

    generator: np.random.Generator

    def uniform(self, a: float, b: float) -> float:
        """A number in [a, b)."""
        return a + (b - a) * self.generator.random()

    def randint(self, a: int, b: int) -> int:
        """An integer from ``a`` to ``b``, both included."""
        return int(self.generator.integers(a, b + 1))


class CropBox(NamedTuple):
    """Part of an image, pixels."""

    top: int
    left: int
    height: int
    width: int


def draw_crop(size: Size, area: tuple[float, float], draws: Draws, aspects: tuple[float, float] = _ASPECTS) -> CropBox:
    """A random part of an image: area a share of the image's, width over height log-uniform in ``aspects``.

    Where ten attempts do not fit into the image: the largest centred part of allowed shape.
    Source: PixPro's crop, number of draws and their order included.
    """
    height, width = size
    for _ in range(_ATTEMPTS):
        wanted = draws.uniform(*area) * height * width
        aspect = math.exp(draws.uniform(math.log(aspects[0]), math.log(aspects[1])))
        w, h = round(math.sqrt(wanted * aspect)), round(math.sqrt(wanted / aspect))
        if 0 < w <= width and 0 < h <= height:
            return CropBox(draws.randint(0, height - h), draws.randint(0, width - w), h, w)
    w, h = width, height
    if width / height < aspects[0]:
        h = round(width / aspects[0])
    elif width / height > aspects[1]:
        w = round(height * aspects[1])
    return CropBox((height - h) // 2, (width - w) // 2, h, w)


def crop_coordinates(box: CropBox, size: Size, hflip: bool = False, vflip: bool = False) -> NDArray[np.float32]:
    """Where a view lies: x1, y1, x2, y2 = centres of its first and last pixel, ``(4,)`` float32.

    Each axis has its own unit: 0 is the image's first pixel centre, 1 its last. A mirrored view has x1 > x2 (y1 > y2).
    """
    height, width = size
    right, bottom = max(width - 1, 1), max(height - 1, 1)
    x1, x2 = box.left / right, (box.left + box.width - 1) / right
    y1, y2 = box.top / bottom, (box.top + box.height - 1) / bottom
    x1, x2 = (x2, x1) if hflip else (x1, x2)
    y1, y2 = (y2, y1) if vflip else (y1, y2)
    return np.asarray([x1, y1, x2, y2], np.float32)


@dataclass(frozen=True)
class ColourRecipe:
    """Chances and ranges of what changes the colours of one view, in the order of application.

    Attributes:
        jitter: largest change of brightness, contrast, saturation (factors) and hue (turns).
        jitter_chance: of all four, in random order.
        grey, blur, solarize: chances.
        rand_augment: RandAugment of two operations of magnitude 10, between blur and greyscale; what it moves is not in the
            coordinates.
    """

    jitter: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    jitter_chance: float = 0.0
    grey: float = 0.0
    blur: float = 0.0
    solarize: float = 0.0
    rand_augment: bool = False


def _both(recipe: ColourRecipe) -> tuple[ColourRecipe, ColourRecipe]:
    return recipe, recipe


VIEW_MODES: Mapping[str, tuple[ColourRecipe, ColourRecipe]] = {
    "BYOL": (
        ColourRecipe((0.4, 0.4, 0.2, 0.1), 0.8, grey=0.2, blur=1.0),
        ColourRecipe((0.4, 0.4, 0.2, 0.1), 0.8, grey=0.2, blur=0.1, solarize=0.2),
    ),
    "InstDisc": _both(ColourRecipe((0.4, 0.4, 0.4, 0.4), 1.0, grey=0.2)),
    "MoCov2": _both(ColourRecipe((0.4, 0.4, 0.4, 0.1), 0.8, grey=0.2, blur=0.5)),
    "SimCLR": _both(ColourRecipe((0.8, 0.8, 0.8, 0.2), 0.8, grey=0.2, blur=0.5)),
    "RandAug": _both(ColourRecipe((0.8, 0.8, 0.8, 0.2), 0.8, grey=0.2, blur=0.5, rand_augment=True)),
    "NULL": _both(ColourRecipe()),
}
"""INPUT.VIEWS.TRANSFORM → what changes the colours of view 1 and of view 2."""


class Jitter(NamedTuple):
    """Factors of brightness, contrast and saturation, shift of hue in turns, and the order of the four."""

    factors: tuple[float, float, float, float]
    order: tuple[int, int, int, int]


@dataclass(frozen=True)
class ViewPlan:
    """All that was drawn for one view.

    Attributes:
        box: crop, pixels of the image.
        hflip: mirrored left-right.
        jitter: ``None`` = none.
        sigma: standard deviation of the blur in pixels of the view, 0 = none.
        rand_augment: seed of RandAugment, ``None`` = none.
    """

    box: CropBox
    hflip: bool
    jitter: Jitter | None = None
    grey: bool = False
    sigma: float = 0.0
    solarize: bool = False
    rand_augment: int | None = None

    def coordinates(self, size: Size) -> NDArray[np.float32]:
        """Where the view lies in its image of ``size``; see ``crop_coordinates``."""
        return crop_coordinates(self.box, size, self.hflip)


def draw_view(
    size: Size,
    area: tuple[float, float],
    recipe: ColourRecipe,
    sigmas: tuple[float, float],
    rng: np.random.Generator,
) -> ViewPlan:
    """Draw one view; all chances are independent.

    Args:
        size: of the image.
        area: range of the crop's share of the image's area.
        recipe: of its colours.
        sigmas: range of the blur's standard deviation, pixels of the view.
        rng: of all draws.
    """
    draws = GeneratorDraws(rng)
    box = draw_crop(size, area, draws)
    hflip = rng.random() < 0.5
    jitter = _draw_jitter(recipe.jitter, rng) if rng.random() < recipe.jitter_chance else None
    grey = rng.random() < recipe.grey
    sigma = draws.uniform(*sigmas) if rng.random() < recipe.blur else 0.0
    solarize = rng.random() < recipe.solarize
    seed = draws.randint(0, 2**32 - 1) if recipe.rand_augment else None
    return ViewPlan(box, hflip, jitter, grey, sigma, solarize, seed)


def _draw_jitter(ranges: tuple[float, float, float, float], rng: np.random.Generator) -> Jitter:
    low = [max(0.0, 1 - value) for value in ranges[:3]] + [-ranges[3]]
    high = [1 + value for value in ranges[:3]] + [ranges[3]]
    brightness, contrast, saturation, hue = (float(value) for value in rng.uniform(low, high))
    first, second, third, last = (int(k) for k in rng.permutation(4))
    return Jitter((brightness, contrast, saturation, hue), (first, second, third, last))
