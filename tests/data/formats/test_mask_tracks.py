"""Checking of a whole track of run-length masks at once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dense.data.formats.mask_tracks import covered_pixels, track_masks
from dense.errors import DataError
from dense.structures import rle


def runs_one_by_one(text: str) -> int:
    """The code read digit by digit, as its description says; -1 if malformed."""
    runs, value, shift = [], 0, 0
    for char in text:
        digit = ord(char) - 48
        if not 0 <= digit < 64 or shift >= 35:
            return -1
        value += (digit % 32) << shift
        shift += 5
        if digit < 32:
            if digit >= 16:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) >= 3 else 0))
            if runs[-1] < 0:
                return -1
            value, shift = 0, 0
    return sum(runs) if text and shift == 0 else -1


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(st.characters(min_codepoint=44, max_codepoint=115), max_size=14), max_size=6))
def test_covered_pixels__arbitrary_text__same_as_digit_by_digit(texts):
    """Catches malformed counts that would make the C decoder read or write out of bounds."""
    assert covered_pixels(texts).tolist() == [runs_one_by_one(text) for text in texts]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2**32 - 1), st.floats(0, 1)), min_size=1, max_size=5),
    st.integers(1, 40),
    st.integers(1, 40),
)
def test_track_masks__encoded_masks__returned_unchanged(draws, height, width):
    """Catches sound masks that are refused or changed."""
    masks = [np.random.default_rng(seed).random((height, width)) < density for seed, density in draws]
    track = [rle.encode(mask) for mask in masks]
    assert covered_pixels([m["counts"] for m in track]).tolist() == [height * width] * len(track)
    for mask, back in zip(masks, track_masks(track, height, width, "here"), strict=True):
        np.testing.assert_array_equal(rle.decode(back), mask)


def test_track_masks__one_of_many_malformed__error_names_the_frame():
    """Catches an error that names the wrong frame when a track is checked at once."""
    good = rle.encode(np.eye(4))
    with pytest.raises(DataError, match=r"here\[2\].*16"):
        track_masks([good, None, {"size": [4, 4], "counts": good["counts"] + "1"}, good], 4, 4, "here")
