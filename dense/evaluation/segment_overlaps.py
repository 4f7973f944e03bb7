"""How many pixels each pair of an annotated and a predicted segment shares: one pass over the picture, no sorting.

Ids have 24 bits, so a table with one entry per possible id turns both maps into small indices; a single ``bincount`` then
counts all pairs. (``np.unique`` over pairs sorts the pixels, which takes many times as long.)
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dense.data.formats.coco_panoptic import VOID_ID, check_segment_ids
from dense.errors import DataError

__all__ = ["Overlaps", "SegmentOverlaps", "segment_areas"]

Overlaps = dict[tuple[int, int], int]
"""(annotated id, predicted id) → pixels, for the pairs that occur; 0 is void, or nothing predicted."""

_IDS = 1 << 24


class SegmentOverlaps:
    """Counts pairs picture by picture. Its table is made at the first picture; only the parts that are touched take memory."""

    def __init__(self) -> None:
        self._table: NDArray[np.int64] | None = None

    def count(
        self,
        annotated: NDArray[np.integer],
        annotated_ids: Sequence[int],
        predicted: NDArray[np.integer],
        predicted_ids: Sequence[int],
        names: tuple[object, object] = ("annotated map", "predicted map"),
    ) -> Overlaps:
        """Count one picture.

        Args:
            annotated: ``(H, W)`` segment ids from 0 to 2**24 - 1, 0 = void.
            annotated_ids: the ids that are listed for ``annotated``, without 0.
            predicted: ``(H, W)`` likewise, 0 = nothing predicted.
            predicted_ids: its ids.
            names: of the two maps in messages, for instance their files.

        Raises: DataError naming the map if its size differs from the other's, or an id occurs only in the map or the list.
        """
        if annotated.shape != predicted.shape:
            raise DataError(
                f"{names[1]}: map of {predicted.shape}, expected {annotated.shape} (height, width) like {names[0]}."
            )
        rows = self._indices(annotated, annotated_ids, names[0])
        columns = self._indices(predicted, predicted_ids, names[1])
        width = len(predicted_ids) + 1
        rows *= width
        rows += columns
        shape = (len(annotated_ids) + 1, width)
        counts = np.bincount(rows.ravel(), minlength=shape[0] * shape[1]).reshape(shape)
        for ids, pixels, name in ((annotated_ids, counts.sum(1), names[0]), (predicted_ids, counts.sum(0), names[1])):
            seen = {identity for identity, n in zip(ids, pixels[1:].tolist(), strict=True) if n}
            check_segment_ids(seen, set(ids), name)
        first, second = [VOID_ID, *annotated_ids], [VOID_ID, *predicted_ids]
        g, p = (axis.tolist() for axis in np.nonzero(counts))
        return {(first[i], second[j]): n for i, j, n in zip(g, p, counts[counts > 0].tolist(), strict=True)}

    def _indices(self, ids: NDArray[np.integer], listed: Sequence[int], name: object) -> NDArray[np.int64]:
        """Place of each pixel's id in ``listed``, from 1; 0 for void."""
        if ids.size and (ids.min() < 0 or ids.max() >= _IDS):
            raise DataError(f"{name}: has ids from {ids.min()} to {ids.max()}, expected 0 to {_IDS - 1}.")
        if self._table is None:
            self._table = np.zeros(_IDS, np.int64)
        self._table[list(listed)] = np.arange(1, len(listed) + 1)
        indices = self._table.take(ids)
        self._table[list(listed)] = 0
        if np.count_nonzero(indices) != np.count_nonzero(ids):
            check_segment_ids(set(np.unique(ids).tolist()) - {VOID_ID}, set(listed), name)
        return indices


def segment_areas(overlaps: Overlaps, side: int) -> dict[int, int]:
    """Pixels of each id of one side (0 annotated, 1 predicted), void included."""
    areas: dict[int, int] = {}
    for pair, count in overlaps.items():
        areas[pair[side]] = areas.get(pair[side], 0) + count
    return areas
