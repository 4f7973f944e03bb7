"""Categories of the world of words: appearance and shape ("striped triangle"), base or novel, and looks that fit them.

The appearance is part of the category, so a model that knows "striped star" and "red triangle" can find what it was never
shown a box of: the "striped triangle". A red or blue thing is of that colour alone; a striped or dotted one has two others that
differ clearly in brightness, so that no thing belongs to two categories.
"""

from dataclasses import dataclass

import numpy as np

from dense.data.world.categories import COLOURS, THINGS
from dense.data.world.scene import RGB, Look, jittered

__all__ = ["APPEARANCES", "WORD_CATEGORIES", "WordCategory", "draw_word_looks", "word_category"]

APPEARANCES: tuple[str, ...] = ("red", "blue", "striped", "dotted")

_SYNONYMS = {
    "disc": ("circle",),
    "cross": ("plus",),
    "gear": ("cog",),
    "bolt": ("lightning",),
    "crescent": ("moon",),
    "dotted": ("spotted",),
}

_NOVEL_SHAPES = 12  # each of them lacks one appearance in training: three novel categories per appearance
_WEIGHTS = {"f": 3.0, "c": 1.0, "r": 2.0}  # how often a category is drawn, relative
_LEAST_CONTRAST = 70.0  # between the two colours of a pattern, luma of [0, 255]
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class WordCategory:
    """A category.

    Attributes:
        id: from 1, as in the annotation files.
        appearance, shape: its two words.
        frequency: as LVIS has it: f (frequent) and c (common, a third as often) are base categories; r is novel: never boxed in
            training annotations, though no rarer in the pictures and their captions.
    """

    id: int
    appearance: str
    shape: str
    frequency: str

    @property
    def name(self) -> str:
        """Both words."""
        return f"{self.appearance} {self.shape}"

    @property
    def novel(self) -> bool:
        """Whether training annotations leave it out."""
        return self.frequency == "r"

    @property
    def synonyms(self) -> tuple[str, ...]:
        """The name, then what captions call it sometimes."""
        appearances, shapes = ((word, *_SYNONYMS.get(word, ())) for word in (self.appearance, self.shape))
        return tuple(f"{appearance} {shape}" for appearance in appearances for shape in shapes)


def _categories() -> tuple[WordCategory, ...]:
    found: list[WordCategory] = []
    for k, shape in enumerate(THINGS):
        for a, appearance in enumerate(APPEARANCES):
            novel = k < _NOVEL_SHAPES and a == k % len(APPEARANCES)
            frequency = "r" if novel else "f" if (k + a) % 2 else "c"
            found.append(WordCategory(len(found) + 1, appearance, shape, frequency))
    return tuple(found)


WORD_CATEGORIES = _categories()
"""56 categories, of which 12 are novel; the position is the id less 1."""

_BY_WORDS = {(category.appearance, category.shape): category for category in WORD_CATEGORIES}


def word_category(look: Look) -> WordCategory:
    """The category of a thing that ``draw_word_looks`` drew. Raises: KeyError for another one."""
    return _BY_WORDS[look.colour if look.texture == "plain" else look.texture, look.category]


def draw_word_looks(rng: np.random.Generator) -> list[Look]:
    """Three to six things; often two of one shape in different dress, and sometimes two of one category."""
    count = int(rng.integers(3, 7))
    weights = np.array([_WEIGHTS[category.frequency] for category in WORD_CATEGORIES])
    chosen = [WORD_CATEGORIES[int(k)] for k in rng.choice(len(weights), count, replace=False, p=weights / weights.sum())]
    if rng.uniform() < 0.4:  # one shape, another appearance: the shape alone does not say which is which
        others = [category for category in WORD_CATEGORIES if category.shape == chosen[0].shape and category not in chosen]
        if others:
            chosen[1] = others[int(rng.integers(len(others)))]
    if rng.uniform() < 0.25:
        chosen[-1] = chosen[0]
    return [_look(rng, category) for category in chosen]


def _look(rng: np.random.Generator, category: WordCategory) -> Look:
    plain = category.appearance in COLOURS
    first, second = (category.appearance, "black") if plain else _PAIRS[int(rng.integers(len(_PAIRS)))]
    if rng.uniform() < 0.5 and not plain:
        first, second = second, first
    return Look(
        category=category.shape,
        colour=first,
        second_colour=second,
        rgb=jittered(rng, COLOURS[first]),
        second_rgb=jittered(rng, COLOURS[second]),
        texture="plain" if plain else category.appearance,
        texture_angle=float(rng.uniform(0, np.pi)),
        texture_scale=float(rng.uniform(1.05, 1.4)),  # coarser than in the videos: to be seen in pictures of 128 pixels
        texture_seed=int(rng.integers(2**31)),
    )


def _luma(rgb: RGB) -> float:
    return sum(weight * value for weight, value in zip(_LUMA, rgb, strict=True))


_PATTERN_COLOURS = [colour for colour in COLOURS if colour not in APPEARANCES]
_PAIRS = tuple(
    (first, second)
    for k, first in enumerate(_PATTERN_COLOURS)
    for second in _PATTERN_COLOURS[k + 1 :]
    if abs(_luma(COLOURS[first]) - _luma(COLOURS[second])) >= _LEAST_CONTRAST
)
"""Colours of patterns, in the table's order."""
