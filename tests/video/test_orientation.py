"""The eight turns, against a point-by-point reading of the display matrix."""

import itertools

import numpy as np
import pytest

from dense.video.orientation import UPRIGHT, turn_from_display_matrix, turn_from_exif, turn_upright

ONE = 1 << 16  # display matrices hold 16.16 fixed-point numbers
MATRICES = [(a * ONE, 0, 0, d * ONE) for a, d in itertools.product((1, -1), repeat=2)]
MATRICES += [(0, b * ONE, c * ONE, 0) for b, c in itertools.product((1, -1), repeat=2)]


def matrix_bytes(a, b, c, d):
    return np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], np.int32).tobytes()


@pytest.mark.parametrize(("a", "b", "c", "d"), MATRICES)
def test_turn_from_display_matrix__right_angles_and_mirrors__move_each_pixel_as_defined(a, b, c, d):
    """Catches mirrored videos turned wrongly; brute force: x' = a x + c y, y' = b x + d y, moved back into the picture."""
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    places = {(x, y): ((a * x + c * y) // ONE, (b * x + d * y) // ONE) for x in range(3) for y in range(2)}
    left, top = (min(place[axis] for place in places.values()) for axis in (0, 1))
    expected = np.zeros((3, 2, 3) if a == 0 else (2, 3, 3), np.uint8)
    for (x, y), (to_x, to_y) in places.items():
        expected[to_y - top, to_x - left] = image[y, x]
    turned = turn_upright(image, turn_from_display_matrix(matrix_bytes(a, b, c, d)))
    assert np.array_equal(turned, expected)
    assert turned.flags.c_contiguous


@pytest.mark.parametrize("values", [(0, 0, 0, 0), (46341, 46341, -46341, 46341), (ONE, 0, 0, 0)])
def test_turn_from_display_matrix__tilted_or_degenerate__is_none(values):
    """Catches a guess where no right angle is asked for."""
    assert turn_from_display_matrix(matrix_bytes(*values)) is None


def test_turn_from_display_matrix__too_short__is_none():
    """Catches an index error on broken side data."""
    assert turn_from_display_matrix(b"\0" * 12) is None


@pytest.mark.parametrize("orientation", [0, 9, None, "6", 1])
def test_turn_from_exif__nonsense__means_as_stored(orientation):
    """Catches a crash or a turn on broken EXIF values."""
    assert turn_from_exif(orientation) == UPRIGHT
