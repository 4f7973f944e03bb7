"""Lists of class names for open-vocabulary models: synonyms, clean spelling, no doubles.

A name may hold synonyms after commas (``cat, kitten``). Underscores count as spaces (``speaker_(stereo_equipment)`` of LVIS).
"""

import os
from collections.abc import Sequence
from pathlib import Path

from dense.data.formats.records import text
from dense.errors import DataError
from dense.io import read_json

__all__ = ["Vocabulary", "parse_vocabulary", "read_vocabulary"]

Vocabulary = tuple[tuple[str, ...], ...]
"""Synonyms of each class, in the list's order."""


def read_vocabulary(path: str | os.PathLike[str]) -> Vocabulary:
    """Read a JSON list of names, or a text file with one name a line (empty lines are passed over).

    Raises: DataError naming the file, and the position of a name that is empty or doubled.
    """
    source = Path(path)
    if source.suffix.lower() == ".json":
        names = read_json(source)
    else:
        try:
            names = [line for line in source.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{source}: cannot be read as text ({error}), expected one name a line.") from error
    if not isinstance(names, list):
        raise DataError(f"{source}: holds a {type(names).__name__}, expected a list of names.")
    return parse_vocabulary(names, str(source))


def parse_vocabulary(names: Sequence[object], where: str = "vocabulary") -> Vocabulary:
    """Clean a list of names.

    Raises: DataError naming ``where`` and the position (from 0) of a name that is no text, has an empty part, or repeats one of
        another class (upper and lower case are the same).
    """
    if not names:
        raise DataError(f"{where}: is empty, expected at least one name.")
    classes: list[tuple[str, ...]] = []
    seen: dict[str, int] = {}
    for position, name in enumerate(names):
        if isinstance(name, str) and not name.strip():
            raise DataError(f"{where}: name {position} is empty, expected a word. Remove it.")
        parts = [" ".join(part.replace("_", " ").split()) for part in text(name, f"{where}: name {position}").split(",")]
        if not all(parts):
            raise DataError(f"{where}: name {position} ({name!r}) has an empty synonym between commas. Remove the comma.")
        for part in parts:
            first = seen.setdefault(part.casefold(), position)
            if first != position:
                raise DataError(f"{where}: name {position} ({part!r}) stands at {first} already. Classes must differ.")
        classes.append(tuple(dict.fromkeys(parts)))
    return tuple(classes)
