"""Sentences about a picture of the world of words: what is in it, what it looks like, what is behind it, who is where."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dense.data.world.words import WordCategory

__all__ = ["CaptionedThing", "write_captions"]

_PLURALS = {"cross": "crosses", "fish": "fish", "hourglass": "hourglasses", "plus": "pluses", "lightning": "lightning"}
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six")
_LISTS = (
    "{things} on {stuff}",
    "a picture of {things}",
    "{things} in front of {stuff}",
    "we see {things}",
    "{stuff} with {things}",
    "you can see {things} over {stuff}",
    "{things}",
)
_SINGLE = ("{thing} on {stuff}", "one of them is {thing}", "look at {thing}", "{thing} in front of {stuff}")


@dataclass(frozen=True)
class CaptionedThing:
    """A thing that can be seen.

    Attributes:
        category: of it.
        colours: of a pattern; empty for a thing of one colour, whose appearance says it.
        size: "small", "medium" or "large".
        relation: (predicate, index of another thing), ``None`` = none worth saying.
    """

    category: WordCategory
    colours: tuple[str, ...]
    size: str
    relation: tuple[str, int] | None


def write_captions(
    things: Sequence[CaptionedThing], stuff: Sequence[str], count: int, rng: np.random.Generator
) -> tuple[str, ...]:
    """``count`` sentences: the first names everything; the others everything, a thing or two, or who is where.

    Args:
        things: all that can be seen; without any, the sentences are about the background.
        stuff: regions from top to bottom.
        count: number of sentences.
        rng: of all choices.
    """
    ways = [_everything, *(_WAYS[int(rng.integers(len(_WAYS)))] for _ in range(count - 1))]
    return tuple(f"{way(things, stuff, rng)}." for way in ways) if things else (f"{_background(stuff, rng)}.",) * count


def _everything(things: Sequence[CaptionedThing], stuff: Sequence[str], rng: np.random.Generator) -> str:
    """All things in random order, those of one category counted together."""
    counts: dict[WordCategory, list[CaptionedThing]] = {}
    for k in rng.permutation(len(things)):
        counts.setdefault(things[int(k)].category, []).append(things[int(k)])
    phrases = [
        _one(same[0], rng) if len(same) == 1 else _several(category, len(same), rng) for category, same in counts.items()
    ]
    return _pick(_LISTS, rng).format(things=_joined(phrases), stuff=_background(stuff, rng))


def _some(things: Sequence[CaptionedThing], stuff: Sequence[str], rng: np.random.Generator) -> str:
    thing = things[int(rng.integers(len(things)))]
    return _pick(_SINGLE, rng).format(thing=_one(thing, rng), stuff=_background(stuff, rng))


def _where(things: Sequence[CaptionedThing], stuff: Sequence[str], rng: np.random.Generator) -> str:
    related = [thing for thing in things if thing.relation is not None]
    if not related:
        return _some(things, stuff, rng)
    thing = related[int(rng.integers(len(related)))]
    predicate, other = thing.relation or ("", 0)
    place = f" on {_background(stuff, rng)}" if rng.uniform() < 0.5 else ""
    return f"{_one(thing, rng)} {predicate} {_one(things[other], rng)}{place}"


_WAYS = (_everything, _everything, _where, _some)


def _one(thing: CaptionedThing, rng: np.random.Generator) -> str:
    """ "a striped star", perhaps with its size, and the colours of a pattern."""
    size = f"{thing.size} " if thing.size != "medium" and rng.uniform() < 0.3 else ""
    colours = f" in {' and '.join(thing.colours)}" if thing.colours and rng.uniform() < 0.25 else ""
    words = f"{size}{_name(thing.category, rng)}"
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}{colours}"


def _several(category: WordCategory, count: int, rng: np.random.Generator) -> str:
    appearance, shape = _name(category, rng).split(" ", 1)
    return f"{_NUMBERS[count]} {appearance} {_PLURALS.get(shape, f'{shape}s')}"


def _name(category: WordCategory, rng: np.random.Generator) -> str:
    return category.name if rng.uniform() < 0.9 else _pick(category.synonyms, rng)


def _background(stuff: Sequence[str], rng: np.random.Generator) -> str:
    return _joined(list(stuff)) if rng.uniform() < 0.3 else stuff[-1]


def _joined(phrases: list[str]) -> str:
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def _pick(choices: Sequence[str], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]
