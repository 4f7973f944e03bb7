"""Resized and cropped positions: reference arrays, and torch's own resize and bilinear reading."""

import pytest
import torch
import torch.nn.functional as F

from dense.projects.dito.positions import crop_positions, resize_positions


@pytest.mark.golden
@pytest.mark.parametrize(("height", "width"), [(64, 64), (20, 24), (14, 28), (8, 8), (12, 9)])
def test_resize_positions__reference_table__reference_grid(arrays, height, width):
    """Catches a shrink without smoothing, aligned corners, and rows and columns exchanged."""
    arrays.need(f"pe.resized_{height}x{width}")
    actual = resize_positions(arrays.tensor("pe.table")[None], height, width)
    assert (actual[0] - arrays.tensor(f"pe.resized_{height}x{width}")).abs().max() < 1e-5


def test_resize_positions__as_many_cells__is_the_table():
    """Catches a resampling where the published code has none: it looks at the number of cells only."""
    table = torch.randn(1, 16, 3)
    assert resize_positions(table, 4, 4) is table
    assert resize_positions(table, 2, 8) is table


@pytest.mark.golden
@pytest.mark.parametrize(("name", "cells", "side"), [("cpe", 14, 64), ("cpe.tiny", 8, 16)])
def test_crop_positions__reference_boxes__reference_crops(arrays, name, cells, side):
    """Catches a half-pixel shift, boxes with x first taken for y first, one crop for all images."""
    boxes = arrays.tensor(f"{name}.boxes_yxyx")[:, [1, 0, 3, 2]]
    actual = crop_positions(arrays.tensor("pe.table")[None, : cells**2], boxes, cells, cells, side)
    assert (actual - arrays.tensor(f"{name}.out")).abs().max() < 1e-4


def enlarged(table, cells, side):
    """``(C, side, side)``."""
    plane = table.mT.unflatten(2, (cells, cells))
    return F.interpolate(plane, size=(side, side), mode="bilinear", align_corners=False)[0]


def test_crop_positions__whole_grid__bilinear_read_at_the_stated_places():
    """Catches the crop of the whole grid taken for the table itself, or for a resize of it."""
    table = torch.randn(1, 14 * 14, 5)
    actual = crop_positions(table, torch.tensor([[0.0, 0.0, 64.0, 64.0]]), 14, 14)
    plane, expected = enlarged(table, 14, 64), torch.empty(14, 14, 5)
    for row in range(14):
        for column in range(14):
            y, x = (row + 0.5) * 64 / 14, (column + 0.5) * 64 / 14
            y0, x0 = min(int(y), 63), min(int(x), 63)
            y1, x1, dy, dx = min(y0 + 1, 63), min(x0 + 1, 63), y - y0, x - x0
            upper = (1 - dx) * plane[:, y0, x0] + dx * plane[:, y0, x1]
            lower = (1 - dx) * plane[:, y1, x0] + dx * plane[:, y1, x1]
            expected[row, column] = (1 - dy) * upper + dy * lower
    torch.testing.assert_close(actual[0], expected.flatten(0, 1), rtol=1e-4, atol=1e-5)
    assert (actual - table).abs().max() > 0.1


def test_crop_positions__integer_places__cells_of_the_enlarged_table():
    """Catches any shift of the reading: a box one cell wide per bin, begun half a cell before, hits cells exactly."""
    table = torch.randn(1, 9, 2)
    actual = crop_positions(table, torch.tensor([[1.5, 2.5, 5.5, 5.5]]), 3, 4, side=12)
    torch.testing.assert_close(actual[0].unflatten(0, (3, 4)), enlarged(table, 3, 12)[:, 3:6, 2:6].permute(1, 2, 0))


def test_crop_positions__box_to_the_border__last_cell_is_held():
    """Catches positions that fade to zero past the last cell."""
    table = torch.ones(1, 4, 1)
    assert crop_positions(table, torch.tensor([[6.0, 6.0, 8.0, 8.0]]), 4, 4, side=8).allclose(torch.ones(1, 16, 1))


def test_crop_positions__gradient__reaches_the_table():
    """Catches a crop that is cut off from the learnt table."""
    table = torch.randn(1, 9, 2, requires_grad=True)
    crop_positions(table, torch.tensor([[0.0, 0, 6, 6]]), 3, 3, side=6).sum().backward()
    assert float(table.grad.sum()) == pytest.approx(18, rel=1e-5)  # every reading's weights sum to 1


def test_crop_positions__other_shape__refused():
    """Catches boxes without a batch."""
    with pytest.raises(ValueError, match="expected \\(images, 4\\)"):
        crop_positions(torch.zeros(1, 9, 2), torch.zeros(4), 3, 3)
