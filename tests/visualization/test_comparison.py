"""Prediction against ground truth in one picture: roles by colour, and the part of the frame that is shown."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dense.errors import DataError
from dense.structures import rle
from dense.visualization.comparison import blank_frame, crop_around, draw_comparison


def block(top, left, bottom, right, size=(60, 100)):
    mask = np.zeros(size, bool)
    mask[top:bottom, left:right] = True
    return rle.encode(mask)


def test_draw_comparison__roles__told_by_colour():
    """Catches a truth that is filled, predictions of one colour, and masks that land elsewhere after cutting and scaling."""
    image = blank_frame(60, 100)
    box = (20, 0, 100, 48)
    wrong, other, truth = block(5, 25, 15, 40), block(5, 45, 15, 60), block(25, 65, 45, 90)
    drawn = draw_comparison(image, [(wrong, ""), (other, ""), (None, "")], [(truth, "")], box, width=800).astype(int)
    assert drawn.shape == (480, 800, 3)
    at = {
        name: drawn[10 * y, 10 * (x - 20)] for name, (y, x) in {"wrong": (10, 32), "other": (10, 52), "truth": (35, 78)}.items()
    }
    assert at["wrong"][0] > at["wrong"][1] + 50  # pink
    assert at["other"][2] > at["other"][0] + 50  # blue
    assert at["truth"].tolist() == image[0, 0].tolist()  # only outlined
    border = drawn[300:400, 440:460].reshape(-1, 3)
    assert (border.min(axis=1) > 200).any()  # white beside dark: seen on any ground
    assert (border.max(axis=1) < 60).any()
    assert (image == blank_frame(60, 100)).all()


def test_draw_comparison__label__drawn_where_given():
    """Catches labels that are lost, and empty ones that leave a chip."""
    image, mask = blank_frame(60, 100), block(20, 40, 40, 60)
    plain = draw_comparison(image, [(mask, "")], [], (0, 0, 100, 60))
    named = draw_comparison(image, [(mask, "disc")], [], (0, 0, 100, 60))
    changed = np.argwhere((plain != named).any(axis=2))
    assert len(changed) > 100
    assert changed[:, 0].max() < 40 / 60 * plain.shape[0]


def test_draw_comparison__mask_of_another_size__own_error():
    """Catches a mask that is drawn at the wrong place without a word."""
    with pytest.raises(DataError, match="expected"):
        draw_comparison(blank_frame(60, 100), [(block(1, 1, 5, 5, (30, 50)), "")], [], (0, 0, 100, 60))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_crop_around__random_masks__all_inside(seed):
    """Catches parts that leave the frame, cut a mask off, or distort the picture."""
    rng = np.random.default_rng(seed)
    height, width = (int(n) for n in rng.integers(1, 60, 2))
    masks = [None, *(rle.encode(rng.random((height, width)) < rng.choice([0, 2 / (height * width)])) for _ in range(3))]
    left, top, right, bottom = crop_around(masks, height, width)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert abs((right - left) / width - (bottom - top) / height) < 1 / min(height, width) + 1e-9
    for mask in masks[1:]:
        inside = rle.decode(mask)
        assert inside[top:bottom, left:right].sum() == inside.sum()
    if not any(rle.decode(mask).any() for mask in masks[1:]):
        assert (left, top, right, bottom) == (0, 0, width, height)
