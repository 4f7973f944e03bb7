"""Positions on grids against the reference's numbers and their own formulas."""

import math

import pytest
import torch

from dense.layers import cell_centres, resize_position_table, sine_position_encoding


@pytest.mark.golden
@pytest.mark.parametrize(("name", "height", "width"), [("position_128_3x5", 3, 5), ("position_32_4x7", 4, 7)])
def test_sine_position_encoding__reference_sizes__equal_reference(golden, parity, name, height, width):
    """Catches rows and columns swapped, counting from 0, sine and cosine in blocks instead of in turn."""
    arrays = parity.Arrays(golden("mask2former.npz"))
    ours = sine_position_encoding(height, width, len(arrays[name]))
    assert arrays.distance(name, ours) < 1e-5


def test_sine_position_encoding__one_entry__equals_the_formula():
    """Catches a wrong frequency: entry k of the column half is computed by hand."""
    ours = sine_position_encoding(6, 9, 16)
    angle = (4 + 1) / (9 + 1e-6) * 2 * math.pi / 10000 ** (2 * (5 // 2) / 8)
    assert ours[8 + 5, 2, 4].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_sine_position_encoding__odd_halves__raise():
    """Catches widths that leave a sine without its cosine."""
    with pytest.raises(ValueError, match="channels: 6"):
        sine_position_encoding(2, 2, 6)


def test_sine_position_encoding__half_precision__is_computed_in_float32():
    """Catches angles computed in half precision, where cells far from the origin would coincide."""
    exact = sine_position_encoding(3, 50, 64)
    assert torch.equal(sine_position_encoding(3, 50, 64, dtype=torch.float16), exact.half())


def test_cell_centres__two_grids__counted_by_hand():
    """Catches x and y exchanged, corners instead of centres, grids joined in another order."""
    points = cell_centres([(2, 4), (1, 2)], 3, torch.zeros((), dtype=torch.float64))
    assert points.shape == (1, 10, 3, 2)
    expected = [[(j + 0.5) / w, (i + 0.5) / h] for h, w in ((2, 4), (1, 2)) for i in range(h) for j in range(w)]
    for level in range(3):
        assert points[0, :, level].tolist() == expected


def cubic(distance):
    """Keys' kernel with a = −0.75."""
    d = abs(distance)
    if d <= 1:
        return 1.25 * d**3 - 2.25 * d**2 + 1
    return -0.75 * (d**3 - 5 * d**2 + 8 * d - 4) if d < 2 else 0.0


def weights_by_hand(side, wanted):
    """Row of weights over the table for each wanted place, with the enlarged scale and borders repeated."""
    rows = torch.zeros(wanted, side, dtype=torch.float64)
    for i in range(wanted):
        place = (i + 0.5) / ((wanted + 0.1) / side) - 0.5
        first = math.floor(place) - 1
        for tap in range(first, first + 4):
            rows[i, min(max(tap, 0), side - 1)] += cubic(place - tap)
    return rows


@pytest.mark.parametrize(("height", "width"), [(4, 6), (9, 5), (5, 6)])
def test_resize_position_table__other_grid__equals_the_formula(height, width):
    """Catches plain scales, smoothing when it shrinks, and rows taken for columns."""
    table = torch.randn(1, 25, 3)
    expected = torch.einsum(
        "hi,wj,ijc->hwc", weights_by_hand(5, height), weights_by_hand(5, width), table.view(5, 5, 3).double()
    )
    actual = resize_position_table(table, height, width)
    torch.testing.assert_close(actual, expected.reshape(1, -1, 3).float(), atol=1e-5, rtol=1e-5)


def test_resize_position_table__its_own_grid__is_not_resampled():
    """Catches the table of published models smeared by the enlarged scale at its own size."""
    table = torch.randn(1, 25, 3)
    assert resize_position_table(table, 5, 5) is table
