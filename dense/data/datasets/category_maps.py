"""From the categories of one data set to those of another: COCO's to the video sets' by published tables, others by name.

The tables pair COCO ids with ids of the video sets (DVIS++'s data preparation; the same in MinVIS, SeqFormer and VITA); several
COCO categories may share one, and most have none.
"""

from collections.abc import Iterable, Sequence

from dense.data.datasets.categories import OVIS, YTVIS_2019, YTVIS_2021
from dense.data.datasets.image_categories import COCO_THINGS
from dense.data.formats.category_table import Category
from dense.errors import ConfigError

__all__ = ["COCO_TO_VIDEO", "class_map"]


def _pairs(text: str) -> dict[int, int]:
    return {int(left): int(right) for left, right in (pair.split(":") for pair in text.split())}


COCO_TO_VIDEO: dict[tuple[str, ...], dict[int, int]] = {
    YTVIS_2019: _pairs(
        "1:1 2:21 3:6 4:21 5:28 7:17 8:29 9:34 17:14 18:8 19:18 21:15 22:32 23:20 24:30 25:22 35:33 36:33 41:5 42:27 43:40"
    ),
    YTVIS_2021: _pairs(
        "1:26 2:23 3:5 4:23 5:1 7:36 8:37 9:4 16:3 17:6 18:9 19:19 21:7 22:12 23:2 24:40 25:18 34:14 35:31 36:31 41:29 42:33"
        " 43:34"
    ),
    OVIS: _pairs("1:1 2:21 3:25 4:22 5:23 6:25 8:25 9:24 17:3 18:4 19:5 20:6 21:7 22:8 23:9 24:10 25:11"),
}
"""Names of the target set in contiguous order → (COCO id → id of the target set, from 1)."""


def class_map(source: Sequence[Category], target: Sequence[str], name: str = "data set") -> dict[int, int]:
    """Contiguous class of ``target`` for each category id of ``source`` that has one.

    Args:
        source: categories of the data set that is mapped.
        target: category names of the set that it is mapped to, in contiguous order.
        name: of the data set, for messages.

    Returns: category id → class index. A published table serves where both are those of a table; else equal names.
    Raises: ConfigError if no category has a counterpart.
    """
    table = COCO_TO_VIDEO.get(tuple(target)) if _is_coco(source) else None
    if table is not None:
        return {identity: theirs - 1 for identity, theirs in table.items()}
    found = _by_name(source, target)
    if not found:
        raise ConfigError(
            f"DATASETS.DATASET_NEED_MAP: no category of {name!r} ({_some(c.name for c in source)}) has a counterpart in the"
            f" last training set ({_some(target)}). Rename them, or set it to False."
        )
    return found


def _is_coco(source: Sequence[Category]) -> bool:
    return {(c.id, c.name) for c in source} >= {(c.id, c.name) for c in COCO_THINGS}


def _by_name(source: Sequence[Category], target: Sequence[str]) -> dict[int, int]:
    classes = {_plain(name): rank for rank, name in enumerate(target)}
    return {c.id: classes[_plain(c.name)] for c in source if _plain(c.name) in classes}


def _plain(name: str) -> str:
    return name.lower().replace("_", " ").strip()


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:4]) + (", …" if len(listed) > 4 else "")
