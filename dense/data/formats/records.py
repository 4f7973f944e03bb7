"""Ids, numbers and lists out of JSON from strangers: each function returns a clean value or says what is wrong where."""

import math
from collections.abc import Mapping
from typing import Any, TypeVar

from dense.data.formats.faults import RAISE_FIRST, Faults
from dense.errors import DataError, escaped, shown
from dense.limits import LARGEST_INTEGER, LONGEST_TEXT, max_pixels

__all__ = [
    "flag_field",
    "integer_field",
    "list_of_records",
    "name_field",
    "number",
    "numbered_records",
    "owner_field",
    "size_fields",
    "text",
    "text_field",
    "unique",
]


Owner = TypeVar("Owner")


def list_of_records(data: Mapping[str, Any], field: str, source: str) -> list[dict[str, Any]]:
    """The list of objects ``data[field]``. Raises: DataError naming ``source`` if it is missing or not such a list."""
    return [record for _, record in numbered_records(data, field, source)]


def numbered_records(
    data: Mapping[str, Any], field: str, source: str, faults: Faults = RAISE_FIRST
) -> list[tuple[int, dict[str, Any]]]:
    """The objects of the list ``data[field]`` with their index in it; other entries are faults of kind ``structure``.

    Raises: DataError as ``list_of_records``, unless ``faults`` collects.
    """
    value = data.get(field)
    if not isinstance(value, list):
        found = "is missing" if field not in data else f"is {type(value).__name__}"
        faults.error("structure", f"{source}: `{field}` {found}, expected a list.")
        faults.lose(field)
        return []
    records = []
    for index, record in enumerate(value):
        if isinstance(record, dict):
            records.append((index, record))
            continue
        what = f"{field}[{index}] is {type(record).__name__}, expected an object with named fields."
        faults.error("structure", f"{source}: {what}")
    return records


def integer_field(record: Mapping[str, Any], field: str, where: str, minimum: int | None = None) -> int:
    """``record[field]`` as an int; 7.0 passes as 7, while 7.5, text and booleans do not.

    Raises: DataError naming ``where``, the field and the value.
    """
    if field not in record:
        raise DataError(f"{where}: `{field}` is missing, expected an integer.")
    value = record[field]
    whole = (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer())
    if not whole:
        raise DataError(f"{where}: `{field}` is {shown(value)}, expected an integer.")
    if abs(value) > LARGEST_INTEGER:
        raise DataError(f"{where}: `{field}` is {shown(value)}, expected an integer of 64 bits.")
    if minimum is not None and value < minimum:
        raise DataError(f"{where}: `{field}` is {shown(value)}, expected {minimum} or more.")
    return int(value)


def owner_field(
    record: Mapping[str, Any], field: str, table: str, known: Mapping[int, Owner], where: str, faults: Faults
) -> Owner | None:
    """What ``record[field]`` refers to among the ``known`` records of ``table``, by id.

    Returns: ``None`` if that one was left out for a fault of its own, which is noted already.
    Raises: DataError naming ``where`` and the id.
    """
    identity = integer_field(record, field, where)
    if faults.is_lost(table, identity):
        return None
    if identity not in known:
        raise DataError(f"{where}: {field} {identity} is not in `{table}`.")
    return known[identity]


def flag_field(record: Mapping[str, Any], field: str, where: str, default: int = 0) -> bool:
    """``record[field]`` as a bool, ``default`` where it is missing. Raises: DataError unless it is 0 or 1."""
    value = record.get(field, default)
    if value not in (0, 1):
        raise DataError(f"{where}: `{field}` is {shown(value)}, expected 0 or 1.")
    return bool(value)


def text_field(record: Mapping[str, Any], field: str, where: str, expected: str = "text") -> str:
    """``record[field]``, a text that is not empty. Raises: DataError naming ``where``, the field and the value."""
    return text(record.get(field), f"{where}: `{field}`", expected)


def text(value: object, where: str, expected: str = "text") -> str:
    """``value`` if it is text that is not empty. Raises: DataError naming ``where``; for control characters too."""
    if not isinstance(value, str) or not value or len(value) > LONGEST_TEXT or escaped(value) != value:
        raise DataError(f"{where} is {shown(value)}, expected {expected}.")
    return value


def size_fields(record: Mapping[str, Any], where: str) -> tuple[int, int]:
    """``(height, width)`` in pixels.

    Raises: DataError naming ``where`` if one is missing or below 1, or there are more pixels than ``max_pixels``.
    """
    height, width = (integer_field(record, side, where, minimum=1) for side in ("height", "width"))
    if height * width > max_pixels():
        raise DataError(
            f"{where}: is {width}x{height} (width x height), the limit is {max_pixels() / 1e6:.0f} megapixels."
            " Correct the size, or raise DENSE_MAX_MEGAPIXELS."
        )
    return height, width


def name_field(record: Mapping[str, Any], field: str, where: str) -> str:
    """``record[field]`` as text, where both text and integers are ids. Raises: DataError naming ``where`` and the value."""
    value = record.get(field)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return text_field(record, field, where, "text or an integer")


def number(value: object, where: str, minimum: float = -math.inf) -> float:
    """``value`` as a finite float, at least ``minimum``. Raises: DataError naming ``where`` and the value."""
    try:
        sound = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond the range of floats
        sound = False
    if not sound:
        raise DataError(f"{where} is {shown(value)}, expected a finite number.")
    found = float(value)  # type: ignore[arg-type]
    if found < minimum:
        raise DataError(f"{where} is {found:g}, expected {minimum:g} or more.")
    return found


def unique(identity: Any, where: str, seen: dict[Any, str]) -> None:  # noqa: ANN401  integers, or text in video panoptic files
    """Note that ``identity`` is used at ``where``. Raises: DataError naming both places if it was used before."""
    if identity in seen:
        raise DataError(f"{where}: duplicate id {identity}, first used by {seen[identity]}. Ids must be unique.")
    seen[identity] = where
