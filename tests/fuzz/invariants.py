"""What must hold of a value that a reader returned; each function raises Unsound."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dense.structures import rle

from .reader import Unsound

__all__ = ["check_categories", "check_entry", "check_mask", "check_score", "check_tensors", "require"]

LARGEST_INTEGER = 2**63 - 1
MOST_PIXELS = 100_000_000


def require(holds: bool, what: str) -> None:
    """Raise Unsound with ``what`` unless it holds."""
    if not holds:
        raise Unsound(what)


def check_integer(value: object, what: str, least: int = -LARGEST_INTEGER) -> None:
    """A plain int of at most 64 bits."""
    require(type(value) is int and least <= value <= LARGEST_INTEGER, f"{what} is {value!r:.60}")


def check_number(value: object, what: str, least: float = -math.inf) -> None:
    """A plain finite float."""
    require(type(value) is float and math.isfinite(value) and value >= least, f"{what} is {value!r:.60}")


def check_text(value: object, what: str) -> None:
    """Text that can be written and printed in one line."""
    require(type(value) is str and bool(value) and value.isprintable() and len(value) <= 4096, f"{what} is {value!r:.60}")


check_score = check_number


def check_categories(dataset: Any) -> None:
    """Ids unique and sorted, names are text."""
    ids = [category.id for category in dataset.categories]
    require(ids == sorted(set(ids)), "category ids are not unique and sorted")
    for category in dataset.categories:
        check_integer(category.id, "category id")
        check_text(category.name, "category name")
        require(type(category.isthing) is bool, "isthing is no bool")


def check_entry(entry: Any) -> None:
    """Id and size of an image or video."""
    check_integer(entry.id, "id")
    check_integer(entry.height, "height", 1)
    check_integer(entry.width, "width", 1)
    require(entry.height * entry.width <= MOST_PIXELS, f"{entry.height} x {entry.width} pixels")


def check_mask(mask: Mapping[str, Any] | None, height: int, width: int) -> int | None:
    """The mask decodes to its size, by our own slow decoder to the same pixels. Returns: its area."""
    if mask is None:
        return None
    require(set(mask) == {"size", "counts"}, f"mask has {sorted(mask)}")
    require(mask["size"] == [height, width], f"mask of {mask['size']} in {height} x {width}")
    if height * width > 1_000_000:  # too slow for so many inputs
        return None
    pixels = rle.decode(mask)
    require(pixels.shape == (height, width) and pixels.dtype == bool, f"decodes to {pixels.shape} {pixels.dtype}")
    runs = _runs(mask["counts"])
    require(all(run >= 0 for run in runs) and sum(runs) == height * width, f"runs {runs[:9]} in {height} x {width}")
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    require(bool((pixels == flat.reshape(width, height).T).all()), "decoded pixels differ from the runs")
    area = rle.area(mask)
    require(area == int(flat.sum()), f"area {area}, {int(flat.sum())} pixels inside")
    return area


def _runs(counts: str) -> list[int]:
    """COCO's compressed run lengths one by one: five bits a character, from the fourth run on differences."""
    runs: list[int] = []
    value = shift = 0
    for symbol in counts:
        digit = ord(symbol) - 48
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs


def check_tensors(tensors: Mapping[str, Any], path: Path) -> None:
    """Dense CPU tensors whose values the file can hold."""
    import torch

    total = 0
    for name, tensor in tensors.items():
        require(type(name) is str, f"name {name!r:.60}")
        require(isinstance(tensor, torch.Tensor), f"{name} is {type(tensor)}")
        require(tensor.layout == torch.strided and tensor.device.type == "cpu", f"{name} is {tensor.layout} on {tensor.device}")
        require(not tensor.is_quantized, f"{name} is quantized")
        total += tensor.numel() * tensor.element_size()
        tensor.clone().contiguous()  # every value can be read
    limit = 20 * path.stat().st_size + (64 << 20)
    require(total <= limit, f"{total} bytes of tensors in a file of {path.stat().st_size}")
