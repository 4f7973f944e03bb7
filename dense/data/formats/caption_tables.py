"""Captions in tables: CSV, TSV (both with a line of column names) and JSONL (one object a line).

Rows of one picture need not stand together. Where the columns are not named, the first of the usual names that is there is
taken.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dense.data.formats.caption_sets import ListedCaptions, clean_captions
from dense.data.formats.records import text
from dense.errors import ConfigError, DataError, shown
from dense.io import parse_json
from dense.registry import nearest
from dense.video.frames import describe

__all__ = ["CAPTION_COLUMNS", "IMAGE_COLUMNS", "TABLE_SUFFIXES", "read_caption_table"]

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl")
"""Extensions of tables, in lower case."""

IMAGE_COLUMNS = ("image", "file_name", "filepath", "image_path", "filename", "path")
"""Usual names of the column with the picture's path."""

CAPTION_COLUMNS = ("caption", "captions", "text", "title")
"""Usual names of the column with the caption (in JSONL also a list of captions)."""

Row = tuple[str, Mapping[str, Any]]  # where it stands, its columns


def read_caption_table(path: Path, image_root: Path, image_column: str = "", caption_column: str = "") -> ListedCaptions:
    """Read a table; pictures are not looked at.

    Args:
        path: file ending in one of ``TABLE_SUFFIXES``, UTF-8.
        image_root: folder that paths of pictures are relative to.
        image_column, caption_column: their names; empty = a usual one.

    Raises: ConfigError for another extension, or a column that is not there; DataError naming file and line of what is wrong,
        or if there is no row.
    """
    suffix = path.suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        raise ConfigError(f"{path}: is no table of captions, expected {', '.join(TABLE_SUFFIXES)}.")
    captions: dict[str, list[str]] = {}
    columns: tuple[str, str] | None = None
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = (
                _json_rows(path, stream) if suffix == ".jsonl" else _text_rows(path, stream, "\t" if suffix == ".tsv" else ",")
            )
            for where, row in rows:
                if columns is None:
                    columns = (
                        _column(where, row, image_column, IMAGE_COLUMNS),
                        _column(where, row, caption_column, CAPTION_COLUMNS),
                    )
                name = text(row.get(columns[0]), f"{where}: `{columns[0]}`", "the path of a picture")
                captions.setdefault(name, []).extend(clean_captions(row.get(columns[1]), where))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text. Expected a table of captions.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({describe(error)}). Expected a table of captions.") from error
    if not captions:
        raise DataError(f"{path}: has no row. Expected a picture's path and a caption a line.")
    return ListedCaptions.of_files(image_root, captions)


def _text_rows(path: Path, stream: Iterator[str], delimiter: str) -> Iterator[Row]:
    reader = csv.DictReader(stream, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL, restkey="")
    try:
        for row in reader:
            yield f"{path}: line {reader.line_num}", row
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num + 1}: {error}. Expected a row of the table.") from error


def _json_rows(path: Path, stream: Iterator[str]) -> Iterator[Row]:
    for number, line in enumerate(stream, start=1):
        if not line.strip():
            continue
        where = f"{path}: line {number}"
        row = parse_json(line, where)
        if not isinstance(row, dict):
            raise DataError(f"{where}: is {shown(row)}, expected an object.")
        yield where, row


def _column(where: str, row: Mapping[str, Any], wanted: str, usual: Sequence[str]) -> str:
    known = [str(name) for name in row if name]
    if wanted:
        if wanted not in known:
            raise ConfigError(
                f"{where}: has no column {wanted!r}.{nearest(wanted, known)} Set INPUT.CAPTIONS to a column's name."
            )
        return wanted
    found = next((name for name in usual if name in known), None)
    if found is None:
        raise ConfigError(
            f"{where}: has columns {shown(known)}, but none of {', '.join(usual)}. Set INPUT.CAPTIONS.IMAGE_COLUMN and"
            " CAPTION_COLUMN."
        )
    return found
