"""LVIS annotations: COCO instances whose images say which categories were looked for (federated annotation; LVIS v0.5 and v1).

Beside COCO's fields an image has ``neg_category_ids`` (verified absent) and ``not_exhaustive_category_ids`` (present, but not
every object is marked); a category has ``frequency``: r (rare), c (common) or f (frequent). About all other categories of an
image nothing is known. Files of v1 have no ``file_name``: it is taken from ``coco_url``.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dense.data.formats.category_table import Category
from dense.data.formats.coco import ImageDataset, parse_coco
from dense.data.formats.records import list_of_records
from dense.errors import DataError, shown
from dense.io import read_json

__all__ = ["FREQUENCIES", "LvisDataset", "parse_lvis", "read_lvis"]

FREQUENCIES = ("r", "c", "f")


@dataclass(frozen=True)
class LvisDataset:
    """An annotation file.

    Attributes:
        objects: images, objects and categories.
        negatives: image id → ids of the categories that are verified to be absent.
        not_exhaustive: image id → ids of the categories of which not every object is marked.
        frequencies: category id → one of ``FREQUENCIES``.
    """

    objects: ImageDataset
    negatives: Mapping[int, frozenset[int]]
    not_exhaustive: Mapping[int, frozenset[int]]
    frequencies: Mapping[int, str]

    @property
    def categories(self) -> tuple[Category, ...]:
        """Of the objects, in contiguous order."""
        return self.objects.categories

    @property
    def category_names(self) -> tuple[str, ...]:
        """Name of each contiguous class index."""
        return self.objects.category_names


def read_lvis(
    path: str | os.PathLike[str], image_root: str | os.PathLike[str] | None = None, *, masks: bool = True
) -> LvisDataset:
    """Read and check an annotation file; arguments and errors as ``read_coco``, and a missing field of LVIS is named."""
    return parse_lvis(read_json(path), str(path), image_root, masks=masks)


def parse_lvis(
    data: object, path: str = "annotations", image_root: str | os.PathLike[str] | None = None, *, masks: bool = True
) -> LvisDataset:
    """As ``read_lvis`` for what a JSON file holds; ``path`` is its name in messages."""
    if isinstance(data, Mapping) and isinstance(data.get("images"), list):
        data = {**data, "images": [_with_file_name(image) for image in data["images"]]}
    objects = parse_coco(data, path, image_root, masks=masks)
    top: Mapping[str, Any] = data  # type: ignore[assignment]  # parse_coco has made sure
    known = set(objects.contiguous_ids)
    negatives, not_exhaustive = {}, {}
    for index, image in enumerate(list_of_records(top, "images", path)):
        where = f"{path}: images[{index}] (id {image['id']})"
        negatives[int(image["id"])] = _ids(image, "neg_category_ids", where, known)
        not_exhaustive[int(image["id"])] = _ids(image, "not_exhaustive_category_ids", where, known)
    frequencies = {}
    for index, category in enumerate(list_of_records(top, "categories", path)):
        frequency = category.get("frequency")
        if frequency not in FREQUENCIES:
            raise DataError(f"{path}: categories[{index}]: `frequency` is {shown(frequency)}, expected r, c or f.")
        frequencies[int(category["id"])] = frequency
    return LvisDataset(objects, negatives, not_exhaustive, frequencies)


def _with_file_name(image: Any) -> Any:  # noqa: ANN401  JSON, checked later
    url = image.get("coco_url") if isinstance(image, dict) else None
    if not isinstance(url, str) or "file_name" in image:
        return image
    return {**image, "file_name": "/".join(url.split("/")[-2:])}


def _ids(image: Mapping[str, Any], field: str, where: str, known: set[int]) -> frozenset[int]:
    value = image.get(field)
    if not isinstance(value, list):
        found = "is missing" if field not in image else f"is {shown(value)}"
        raise DataError(f"{where}: `{field}` {found}, expected a list of category ids. Give an LVIS file, not one of COCO.")
    for identity in value:
        if not isinstance(identity, int) or isinstance(identity, bool) or identity not in known:
            raise DataError(f"{where}: `{field}` has {shown(identity)}, which is no category of the file.")
    return frozenset(value)
