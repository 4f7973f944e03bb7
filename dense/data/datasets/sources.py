"""What sources of data sets share: a table of categories, names that are registered or one's own paths, a check."""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from dense.data.formats.category_table import Category
from dense.errors import ConfigError, DataError
from dense.registry import nearest

__all__ = ["Published", "check_present", "find_source", "own_paths", "split_limit", "unknown_place"]

Source = TypeVar("Source")

_LIMIT = re.compile(r"(.+)@(\d{1,9})")


class Published:
    """A data set whose table of categories may be published (``None`` = only its file knows)."""

    categories: tuple[Category, ...] | None

    @property
    def category_names(self) -> tuple[str, ...] | None:
        """Names of the published table in contiguous order."""
        return None if self.categories is None else tuple(category.name for category in self.categories)


def check_present(name: str, path: Path, present: bool) -> None:
    """Raise DataError for data set ``name`` unless ``path`` is ``present``."""
    if not present:
        raise DataError(
            f"data set {name!r}: {path} does not exist. Put the data set there, or set DETECTRON2_DATASETS to the folder that"
            " holds all data sets."
        )


def find_source(name: str, registered: Mapping[str, Source], form: str, build: Callable[..., Source]) -> Source:
    """A source by registered name, or built of ``name`` and the paths of one's own data.

    Args:
        name: what the configuration says.
        registered: sources by name.
        form: what one's own data looks like, its parts between colons.
        build: takes the name and as many paths as ``form`` has parts.

    Raises: ConfigError for a name that is neither, suggesting the nearest one.
    """
    return registered[name] if name in registered else build(name, *own_paths(name, registered, form))


def own_paths(name: str, known: Mapping[str, Any], form: str) -> list[Path]:
    """The paths of one's own data, as many as ``form`` has parts. Raises: ConfigError as ``find_source``."""
    parts = name.split(":")
    if len(parts) != len(form.split(":")) or not all(parts):
        raise ConfigError(f"unknown data set {name!r}.{nearest(name, list(known))} For your own data write {form}.")
    return [Path(part).expanduser() for part in parts]


def split_limit(name: str) -> tuple[str, int | None]:
    """``NAME@N`` (the first N images of a data set) → name and number; ``None`` without one. Raises: ConfigError for 0."""
    found = _LIMIT.fullmatch(name)
    if found is None:
        return name, None
    if int(found[2]) < 1:
        raise ConfigError(f"data set {name!r}: no image, expected @1 or more.")
    return found[1], int(found[2])


def unknown_place(name: str, known: Iterable[str], forms: str) -> ConfigError | DataError:
    """The error for a name that is neither registered nor of one of ``forms``: a path that is not there, or a misspelt name."""
    if os.sep in name or name.startswith(("~", ".")):
        return DataError(f"data set {name!r}: no such folder. Expected {forms}.")
    return ConfigError(f"unknown data set {name!r}.{nearest(name, list(known))} For your own data write {forms}.")
