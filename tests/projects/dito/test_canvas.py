"""Pictures on the canvas."""

import pytest
import torch

from dense.errors import DataError
from dense.projects.dito.canvas import PADDINGS, Canvas


def picture(height: int, width: int, value: int = 255) -> torch.Tensor:
    return torch.full((3, height, width), value, dtype=torch.uint8)


@pytest.mark.parametrize("name", ["clip_mean", "black"])
def test_canvas__smaller_picture__upper_left_and_the_colour_elsewhere(name):
    """Catches mean and deviation, pictures in the middle, another padding colour."""
    stack = Canvas(128, PADDINGS[name])([picture(40, 60, 51)])
    assert stack.tensor.shape == (1, 3, 128, 128)
    torch.testing.assert_close(stack.tensor[0, :, :40, :60], torch.full((3, 40, 60), 0.2))
    assert torch.equal(stack.tensor[0, :, 40:].amax((1, 2)), torch.tensor(PADDINGS[name]))
    assert torch.equal(stack.tensor[0, :, :40, 60:].amin((1, 2)), torch.tensor(PADDINGS[name]))
    assert stack.sizes == [(40, 60)]


def test_canvas__larger_picture__next_multiple_on_each_axis():
    """Catches a picture that is cut, and sides that no window divides."""
    assert Canvas(128)([picture(130, 60), picture(10, 100)]).padded == (192, 128)
    assert Canvas(0)([picture(65, 64)]).padded == (128, 64)


@pytest.mark.parametrize("images", [[], [torch.zeros(1, 8, 8)], [torch.zeros(3, 0, 8)]])
def test_canvas__no_picture__data_error(images):
    """Catches a foreign traceback for bad input."""
    with pytest.raises(DataError, match="image"):
        Canvas(64)(images)
