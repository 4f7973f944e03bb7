"""Ids, numbers and lists out of JSON from strangers: each function returns a clean value or says what is wrong where."""

import math
from collections.abc import Mapping
from typing import Any

from dense.errors import DataError

__all__ = ["integer_field", "list_of_records", "number", "unique"]


def list_of_records(data: Mapping[str, Any], field: str, source: str) -> list[dict[str, Any]]:
    """The list of objects ``data[field]``. Raises: DataError naming ``source`` if it is missing or not such a list."""
    value = data.get(field)
    if not isinstance(value, list):
        found = "is missing" if field not in data else f"is {type(value).__name__}"
        raise DataError(f"{source}: `{field}` {found}, expected a list.")
    for index, record in enumerate(value):
        if not isinstance(record, dict):
            raise DataError(f"{source}: {field}[{index}] is {type(record).__name__}, expected an object with named fields.")
    return value


def integer_field(record: Mapping[str, Any], field: str, where: str, minimum: int | None = None) -> int:
    """``record[field]`` as an int; 7.0 passes as 7, while 7.5, text and booleans do not.

    Raises: DataError naming ``where``, the field and the value.
    """
    if field not in record:
        raise DataError(f"{where}: `{field}` is missing, expected an integer.")
    value = record[field]
    whole = (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer())
    if not whole:
        raise DataError(f"{where}: `{field}` is {value!r}, expected an integer.")
    if minimum is not None and value < minimum:
        raise DataError(f"{where}: `{field}` is {value!r}, expected {minimum} or more.")
    return int(value)


def number(value: object, where: str) -> float:
    """``value`` as a finite float. Raises: DataError naming ``where`` and the value (NaN and infinity included)."""
    try:
        sound = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond the range of floats
        sound = False
    if not sound:
        raise DataError(f"{where} is {value!r:.40}, expected a finite number.")
    return float(value)  # type: ignore[arg-type]


def unique(identity: int, where: str, seen: dict[int, str]) -> None:
    """Note that ``identity`` is used at ``where``. Raises: DataError naming both places if it was used before."""
    if identity in seen:
        raise DataError(f"{where}: duplicate id {identity}, first used by {seen[identity]}. Ids must be unique.")
    seen[identity] = where
