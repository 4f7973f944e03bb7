"""Sine position encoding against the reference's numbers and its own formula."""

import math

import pytest
import torch

from dense.layers import sine_position_encoding


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
