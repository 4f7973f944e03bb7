"""Categories of an annotation file, and from the ids of the file to contiguous class indices."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dense.data.formats.faults import RAISE_FIRST, Faults
from dense.data.formats.records import flag_field, integer_field, numbered_records, text_field, unique
from dense.errors import DataError

__all__ = ["Category", "CategoryTable", "category_id_field", "known_ids", "read_categories", "shortened"]


@dataclass(frozen=True)
class Category:
    """A class: ``id`` as in the file (any integer), ``name``; ``isthing`` is False for stuff (regions without instances)."""

    id: int
    name: str
    isthing: bool = True


class CategoryTable:
    """What every data set has: ``path`` (for messages) and ``categories``, sorted by id, so that the position is the class."""

    path: str
    categories: tuple[Category, ...]

    @cached_property
    def _rank(self) -> dict[int, int]:
        return {category.id: rank for rank, category in enumerate(self.categories)}

    @property
    def category_names(self) -> tuple[str, ...]:
        """Name of each contiguous class index."""
        return tuple(category.name for category in self.categories)

    @property
    def contiguous_ids(self) -> dict[int, int]:
        """Category id of the file → contiguous class index (0 to K-1, the rank of the id)."""
        return dict(self._rank)

    @property
    def things(self) -> frozenset[int]:
        """Class indices of the categories that have instances."""
        return frozenset(rank for rank, category in enumerate(self.categories) if category.isthing)

    def contiguous_id(self, category_id: int) -> int:
        """Class index (0 to K-1) of a category id of the file. Raises: DataError for an id the file does not list."""
        if category_id not in self._rank:
            raise DataError(f"{self.path}: category {category_id} is not in `categories` (ids {shortened(self._rank)}).")
        return self._rank[category_id]


def read_categories(top: Mapping[str, Any], path: str, faults: Faults = RAISE_FIRST) -> tuple[Category, ...]:
    """The categories of a file, sorted by id; ``isthing`` is True where the file does not say.

    Raises: DataError naming ``path`` and the record if the list is missing, an id is doubled or not whole, a name no text
        (unless ``faults`` collects: then a category keeps its id, whatever its name).
    """
    seen: dict[int, str] = {}
    categories = []
    for index, record in numbered_records(top, "categories", path, faults):
        where = f"{path}: categories[{index}]"
        identity = faults.attempt("category table", integer_field, record, "id", where)
        before = faults.errors
        if identity is not None:
            faults.attempt("duplicate id", unique, identity, where, seen)
        if identity is None or faults.errors > before:
            continue
        where = f"{where} (id {identity})"
        name = faults.attempt("category table", text_field, record, "name", where)
        isthing = faults.attempt("category table", flag_field, record, "isthing", where, 1)
        categories.append(Category(identity, name or f"category {identity}", isthing is not False))
    return tuple(sorted(categories, key=lambda category: category.id))


def known_ids(categories: Iterable[Category], faults: Faults) -> set[int] | None:
    """Ids for ``category_id_field``; ``None`` where the whole table was at fault, so that every record is not at fault too."""
    return None if faults.is_lost("categories", None) else {category.id for category in categories}


def category_id_field(record: Mapping[str, Any], where: str, known: set[int] | None) -> int:
    """``record["category_id"]``, one of ``known`` (``None``: any). Raises: DataError naming ``where`` and the id."""
    category_id = integer_field(record, "category_id", where)
    if known is not None and category_id not in known:
        raise DataError(f"{where}: category_id {category_id} is not in `categories` (ids {shortened(known)}).")
    return category_id


def shortened(ids: Iterable[int]) -> str:
    """Ids in order for a message; only the first eight and the last of many."""
    ordered = sorted(ids)
    return ", ".join(map(str, ordered[:8])) + (f", … {ordered[-1]}" if len(ordered) > 8 else "")
