"""Reading the tables of category names beside this file."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dense.data.formats.records import text
from dense.data.formats.vocabulary import read_vocabulary
from dense.data.world.words import WORD_CATEGORIES
from dense.errors import DataError
from dense.io import read_json
from dense.registry import nearest

__all__ = ["SPLITS", "NamedCategory", "WordSplit", "lvis_v1", "prompt_names", "word_split"]

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class NamedCategory:
    """A category of LVIS: ``id`` and ``name`` as in its files, ``frequency`` r, c or f, ``synonyms`` with underscores."""

    id: int
    name: str
    frequency: str
    synonyms: tuple[str, ...]


@dataclass(frozen=True)
class WordSplit:
    """Names of the categories that are boxed in training (``base``) and of those that are not (``novel``)."""

    base: tuple[str, ...]
    novel: tuple[str, ...]


@cache
def lvis_v1() -> tuple[NamedCategory, ...]:
    """The 1,203 categories of LVIS v1, sorted by id; ids are 1 to 1203."""
    lines = (_FOLDER / "lvis_v1.tsv").read_text(encoding="utf-8").splitlines()[1:]
    rows = (line.split("\t") for line in lines)
    return tuple(NamedCategory(int(row[0]), row[2], row[1], tuple(row[3].split("|"))) for row in rows)


def _lvis() -> WordSplit:
    """Rare categories are novel (ViLD): 866 base, 337 novel."""
    return WordSplit(
        tuple(category.name for category in lvis_v1() if category.frequency != "r"),
        tuple(category.name for category in lvis_v1() if category.frequency == "r"),
    )


def _coco() -> WordSplit:
    content = read_json(_FOLDER / "coco_48_17.json")
    return WordSplit(tuple(content["base"]), tuple(content["novel"]))


def _world() -> WordSplit:
    return WordSplit(
        tuple(category.name for category in WORD_CATEGORIES if not category.novel),
        tuple(category.name for category in WORD_CATEGORIES if category.novel),
    )


SPLITS: Mapping[str, Callable[[], WordSplit]] = {"lvis_v1": _lvis, "coco_48_17": _coco, "world_words": _world}
"""Known splits by name."""


def word_split(name: str | os.PathLike[str], known: Iterable[str] = ()) -> WordSplit:
    """A split by name, or of one's own: a file with the novel names (JSON list, or one a line).

    Args:
        name: one of ``SPLITS``, or the path of a file.
        known: names of all categories, of which those that the file does not list are base.

    Raises: DataError if it is neither, or the file has a name that is not ``known``.
    """
    if str(name) in SPLITS:
        return SPLITS[str(name)]()
    if not Path(name).is_file():
        hint = nearest(str(name), list(SPLITS))
        raise DataError(f"split {str(name)!r}: no such file.{hint} Expected {', '.join(SPLITS)} or a list of novel names.")
    names = {_plain(category): category for category in known}
    novel = [synonyms[0] for synonyms in read_vocabulary(name)]
    for word in novel:
        if _plain(word) not in names:
            raise DataError(f"{name}: {word!r} is no category of the ground truth.{nearest(word, list(names.values()))}")
    listed = {_plain(word) for word in novel}
    return WordSplit(
        tuple(category for plain, category in names.items() if plain not in listed),
        tuple(names[_plain(word)] for word in novel),
    )


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").split()).casefold()


def prompt_names(names: Iterable[str], mapping: str | os.PathLike[str] | None = None) -> tuple[str, ...]:
    """Names as a text encoder shall read them: what the mapping says, else spaces for underscores.

    Args:
        names: of categories.
        mapping: JSON file with an object from name to text; ``None`` = ``prompt_names.json`` of this folder.

    Raises: DataError naming the file if it is no such object.
    """
    path = _FOLDER / "prompt_names.json" if mapping is None else Path(mapping)
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds a {type(content).__name__}, expected an object from a category's name to its text.")
    texts = {name: text(value, f"{path}: {name!r}") for name, value in content.items()}
    return tuple(texts.get(name) or " ".join(name.replace("_", " ").split()) for name in names)
