"""Atomic files: written under a temporary name beside the target, then renamed, so that a reader never sees half a file."""

import json
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from dense.errors import DataError

__all__ = ["atomic_write", "parse_json", "read_json", "to_plain", "write_json"]


@contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file beside ``path``; on success it is flushed to disk and renamed, on error it is removed.

    Args:
        path: target file; missing parent folders are made.
        mode: ``"w"`` (UTF-8 text) or ``"wb"``.

    Raises: DataError if the folder cannot be made or written to, or ``path`` is a folder.
    """
    target = Path(path)
    if target.is_dir():
        raise DataError(f"{target}: is a folder, expected the name of a file to write.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    except OSError as error:
        raise DataError(f"{target}: cannot be written ({error.strerror}). Give a folder you may write to.") from error
    try:
        with os.fdopen(handle, mode, encoding=None if "b" in mode else "utf-8") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def to_plain(value: object) -> object:
    """Turn NumPy scalars and arrays, bytes and tuples into what JSON knows; other types pass unchanged."""
    if isinstance(value, dict):
        return {str(k): to_plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(v) for v in value]
    if isinstance(value, bytes):
        return value.decode("ascii")
    if hasattr(value, "tolist"):  # NumPy and torch, without importing either
        return to_plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_json(path: str | os.PathLike[str], value: object, indent: int | None = None) -> None:
    """Write ``value`` as JSON atomically; NumPy types become plain numbers, non-finite numbers ``null``."""
    with atomic_write(path) as stream:
        json.dump(to_plain(value), stream, indent=indent, allow_nan=False, ensure_ascii=False)


def read_json(path: str | os.PathLike[str]) -> Any:  # noqa: ANN401  the shape of the file is the caller's affair
    """Read a JSON file (UTF-8, with or without byte-order mark).

    Raises: DataError if the file is missing, unreadable or not JSON; the message has the file and the position.
    """
    source = Path(path)
    try:
        text = source.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{source}: cannot be read ({error.strerror or error}).") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{source}: is not UTF-8 text (byte {error.start}). Expected a JSON file.") from error
    return parse_json(text, str(source))


def parse_json(text: str, source: str) -> Any:  # noqa: ANN401
    """What a text in JSON means. Raises: DataError as ``read_json``; ``source`` stands for the file's name."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{source}: is not valid JSON (line {error.lineno}, column {error.colno}: {error.msg}).") from error
    except ValueError as error:  # a number of thousands of digits
        raise DataError(f"{source}: is not valid JSON ({error}).") from error
    except RecursionError as error:
        raise DataError(f"{source}: is nested too deeply for an annotation file.") from error
