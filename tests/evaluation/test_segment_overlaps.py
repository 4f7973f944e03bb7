"""Pixels shared by segments: counted pair by pair."""

from collections import Counter

import numpy as np
import pytest

from dense.errors import DataError
from dense.evaluation.segment_overlaps import SegmentOverlaps, segment_areas


def test_count__ids_of_24_bits__equals_counting_pixel_by_pixel():
    """Catches rows and columns exchanged, ids that overflow, and a table that remembers an earlier picture."""
    overlaps, rng = SegmentOverlaps(), np.random.default_rng(0)
    for _ in range(5):
        names = [int(i) for i in rng.choice(1 << 24, 4, replace=False) if i] + [(1 << 24) - 1]
        first, second = (rng.choice([0, *names], (9, 7)).astype(np.int32) for _ in range(2))
        pairs = Counter((int(g), int(p)) for g, p in zip(first.ravel(), second.ravel(), strict=True))
        listed = [[int(i) for i in np.unique(ids)[::-1] if i] for ids in (first, second)]
        found = overlaps.count(first, listed[0], second, listed[1])
        assert found == pairs
        assert segment_areas(found, 1) == Counter(second.ravel().tolist())


@pytest.mark.parametrize(
    ("predicted", "ids", "words"),
    [
        ([[5, 6]], [5], "pixels of id 6"),
        ([[5, 5]], [5, 6], "no pixel of id 6"),
        ([[5]], [5], "expected"),
        ([[5, -1]], [5], "from -1 to 5"),
        ([[5, 1 << 24]], [5], "16777216"),
    ],
)
def test_count__map_and_list_disagree__error_names_the_map(predicted, ids, words):
    """Catches pixels of an unknown id that count as void, and segments without pixels."""
    with pytest.raises(DataError, match=r"frame\.png") as caught:
        SegmentOverlaps().count(np.array([[1, 0]]), [1], np.array(predicted), ids, ("gt.png", "frame.png"))
    assert words in str(caught.value)
