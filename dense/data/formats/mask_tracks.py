"""Masks of one object through a video, in any COCO form, to compressed RLE; compressed masks are checked a track at a time."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dense.data.formats.faults import RAISE_FIRST, Faults
from dense.structures.rle import RLE, to_rle

__all__ = ["covered_pixels", "track_masks"]


def track_masks(
    segmentations: Sequence[Any], height: int, width: int, where: str, faults: Faults = RAISE_FIRST
) -> tuple[RLE | None, ...]:
    """Bring each frame's mask to compressed RLE of ``height`` × ``width`` pixels.

    Args:
        segmentations: one entry per frame: ``None``, RLE (compressed or not) or polygons.
        height: expected height in pixels.
        width: expected width in pixels.
        where: prefix of error messages, for instance ``"valid.json: annotations[3] (id 4).segmentations"``.

    Returns: one RLE or ``None`` per frame.
    Raises: DataError naming ``where`` and the frame, unless ``faults`` collects (then the mask is ``None``).
    """
    # The compressed form is by far the most common in big files, and checking it text by text in Python is slow.
    compressed = [t for t, s in enumerate(segmentations) if _looks_compressed(s, height, width)]
    totals = covered_pixels([segmentations[t]["counts"] for t in compressed])
    sound = {t for t, total in zip(compressed, totals.tolist(), strict=True) if total == height * width}

    def attempt(segmentation: object, t: int) -> RLE | None:
        return faults.attempt("mask", to_rle, segmentation, height, width, f"{where}[{t}]")

    return tuple(
        {"size": [height, width], "counts": s["counts"]} if t in sound else attempt(s, t) for t, s in enumerate(segmentations)
    )


def _looks_compressed(segmentation: object, height: int, width: int) -> bool:
    if not isinstance(segmentation, dict):
        return False
    counts = segmentation.get("counts")
    return isinstance(counts, str) and counts.isascii() and segmentation.get("size") == [height, width]


def covered_pixels(counts: Sequence[str]) -> NDArray[np.int64]:
    """Number of pixels that compressed run lengths cover, ``(N,)``; -1 where the text is no valid run-length code.

    COCO's code: 5 bits a character, low bits first, bit 5 = more follow, bit 4 of the last = sign; from the fourth run on
    each number is the difference to the run two before.
    """
    result = np.full(len(counts), -1, np.int64)
    kept = [n for n, text in enumerate(counts) if text and not (ord(text[-1]) - 48) & 32]
    if not kept:
        return result
    lengths = np.array([len(counts[n]) for n in kept])
    digits = np.frombuffer("".join(counts[n] for n in kept).encode("ascii"), np.uint8).astype(np.int64) - 48
    first_digit = np.cumsum(lengths) - lengths  # of each mask
    broken = np.logical_or.reduceat((digits < 0) | (digits > 63), first_digit)

    last = np.flatnonzero((digits & 32) == 0)  # last digit of each run
    start = np.concatenate([[0], last[:-1] + 1])
    size = last + 1 - start
    place = np.arange(len(digits)) - np.repeat(start, size)
    values = np.add.reduceat((digits & 31) << np.minimum(5 * place, 40), start)
    values -= np.where(digits[last] & 16, np.int64(1) << np.minimum(5 * size, 45), 0)

    first_run = np.searchsorted(start, first_digit)
    runs = _undo_differences(values, first_run)
    broken |= np.maximum.reduceat(size, first_run) > 7  # more than 32 bits
    broken |= np.minimum.reduceat(runs, first_run) < 0
    result[kept] = np.where(broken, -1, np.add.reduceat(runs, first_run))
    return result


def _undo_differences(values: NDArray[np.int64], first_run: NDArray[np.int64]) -> NDArray[np.int64]:
    """Run lengths from differences to the run two before, for many masks in a row; ``first_run`` is where each begins."""
    count = np.diff(first_run, append=len(values))
    index = np.arange(len(values)) - np.repeat(first_run, count)  # of the run in its mask
    runs = values.copy()  # run 0 stands alone
    for chain in ((index % 2 == 1), (index % 2 == 0) & (index > 0)):
        summed = np.cumsum(np.where(chain, values, 0))
        before = np.where(first_run > 0, summed[first_run - 1], 0)
        runs[chain] = (summed - np.repeat(before, count))[chain]
    return runs
