"""Categories of an annotation file, and from the ids of the file to contiguous class indices."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dense.data.formats.records import integer_field, list_of_records, unique
from dense.errors import DataError

__all__ = ["Category", "CategoryTable", "category_id_field", "read_categories", "shortened"]


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


def read_categories(top: Mapping[str, Any], path: str) -> tuple[Category, ...]:
    """The categories of a file, sorted by id; ``isthing`` is True where the file does not say.

    Raises: DataError naming ``path`` and the record if the list is missing, an id is doubled or not whole, a name no text.
    """
    seen: dict[int, str] = {}
    categories = []
    for index, record in enumerate(list_of_records(top, "categories", path)):
        where = f"{path}: categories[{index}]"
        identity = integer_field(record, "id", where)
        unique(identity, where, seen)
        where = f"{where} (id {identity})"
        name = record.get("name")
        if not isinstance(name, str) or not name:
            raise DataError(f"{where}: `name` is {name!r}, expected text.")
        isthing = record.get("isthing", 1)
        if isthing not in (0, 1):
            raise DataError(f"{where}: `isthing` is {isthing!r}, expected 0 or 1.")
        categories.append(Category(identity, name, bool(isthing)))
    return tuple(sorted(categories, key=lambda category: category.id))


def category_id_field(record: Mapping[str, Any], where: str, known: Iterable[int]) -> int:
    """``record["category_id"]``, one of ``known``. Raises: DataError naming ``where`` and the id."""
    category_id = integer_field(record, "category_id", where)
    if category_id not in known:
        raise DataError(f"{where}: category_id {category_id} is not in `categories` (ids {shortened(known)}).")
    return category_id


def shortened(ids: Iterable[int]) -> str:
    """Ids in order for a message; only the first eight and the last of many."""
    ordered = sorted(ids)
    return ", ".join(map(str, ordered[:8])) + (f", … {ordered[-1]}" if len(ordered) > 8 else "")
