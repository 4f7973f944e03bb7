"""Error classes of the toolbox: every message says what is wrong, where, what was expected and what to do, in one line."""

import reprlib
import unicodedata

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DenseError",
    "DependencyError",
    "NonFiniteError",
    "OperatorError",
    "VideoError",
    "escaped",
    "shown",
]

_HEAD, _TAIL = 1400, 500  # characters kept of a message that is too long
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control characters, lone surrogates, line and paragraph separators


def escaped(text: str) -> str:
    """``text`` with line breaks, control characters and lone surrogates written as escapes, so that it prints in one line."""
    if text.isprintable():
        return text
    return "".join(_escape(c) if unicodedata.category(c) in _UNPRINTABLE else c for c in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def shown(value: object) -> str:
    """``repr`` of a value from a file for a message: short, whatever its size or depth."""
    try:
        return _SHORT.repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits; containers in containers in …
        return f"a huge {type(value).__name__}"


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60
_SHORT.maxlevel = 3


class DenseError(Exception):
    """Base of all errors that a user can mend; command lines print it as one line and exit with 1.

    A message may quote what a file says, so it is made one printable line of at most some 2000 characters here.
    """

    def __init__(self, *arguments: object) -> None:
        super().__init__(*(_one_line(a) if isinstance(a, str) else a for a in arguments))


def _one_line(message: str) -> str:
    text = escaped(message)
    return text if len(text) <= _HEAD + _TAIL else f"{text[:_HEAD]} … {text[-_TAIL:]}"


class ConfigError(DenseError, ValueError):
    """A configuration file, key, value or registry name is wrong."""


class DataError(DenseError, ValueError):
    """A data file (annotations, images, result files) is wrong."""


class CheckpointError(DenseError, ValueError):
    """A checkpoint cannot be read, or does not fit the model."""


class VideoError(DenseError, ValueError):
    """A video or folder of frames cannot be read or written."""


class OperatorError(DenseError, ValueError):
    """A custom operator was called with wrong arguments, or its binary cannot be used."""


class NonFiniteError(DenseError, FloatingPointError):
    """Outputs or losses of a model are NaN or infinite."""


class DependencyError(DenseError, ImportError):
    """An optional package is missing; the message says which one and how to get it."""
