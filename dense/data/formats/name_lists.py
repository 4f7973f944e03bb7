"""Lists of videos: a text file with one name a line, as VSPW's splits are."""

import os
from pathlib import Path

from dense.data.formats.faults import RAISE_FIRST, Faults
from dense.data.formats.records import unique
from dense.errors import DataError

__all__ = ["read_names"]


def read_names(path: str | os.PathLike[str], faults: Faults = RAISE_FIRST) -> list[str]:
    """Names of the videos in a list, one a line; empty lines do not count.

    Raises: DataError naming the file and the line if it is no text, a name is listed twice or is none of a folder (unless
        ``faults`` collects: then the name is left out), or there is none.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: cannot be read as text ({error}), expected a list of videos, the name of one a line."
        ) from error
    names: list[str] = []
    seen: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        name, where, before = line.strip(), f"{path}: line {number}", faults.errors
        if not name:
            continue
        faults.attempt("video id", _folder_name, name, where)
        faults.attempt("duplicate id", unique, name, where, seen)
        if faults.errors == before:
            names.append(name)
    if not names:
        raise DataError(f"{path}: lists no video, expected the name of one a line.")
    return names


def _folder_name(name: str, where: str) -> None:
    if name in (".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise DataError(f"{where}: {name!r} is no name of a folder.")
