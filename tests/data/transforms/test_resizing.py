"""Shortest-edge resizing and large-scale jitter: sizes, shared draws, refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dense.data.transforms import ClipPipeline, LargeScaleJitter, Resize, ResizeShortestEdge, shortest_edge_size
from dense.errors import ConfigError

SIZES = [(180, 320)] * 8


def _shortest(augmentation, seed=0):
    return [min(t[0].height, t[0].width) for t in augmentation.sample(SIZES, np.random.default_rng(seed))]


@pytest.mark.parametrize(
    ("size", "shortest", "longest", "expected"),
    [
        ((480, 640), 360, 1333, (360, 480)),
        ((640, 480), 360, 1333, (480, 360)),
        ((720, 1280), 480, 1333, (480, 853)),  # 853.33
        ((270, 481), 360, 1333, (360, 641)),  # 641.33
        ((300, 401), 150, 1333, (150, 201)),  # 200.5 goes up
        ((100, 1000), 480, 1333, (133, 1333)),  # the longest edge binds: 133.3
        ((100, 100), 64, 32, (32, 32)),
    ],
)
def test_shortest_edge_size__worked_examples__as_by_hand(size, shortest, longest, expected):
    """Rounding down, or an exceeded limit."""
    assert shortest_edge_size(size, shortest, longest) == expected


@given(st.tuples(st.integers(1, 3000), st.integers(1, 3000)), st.integers(1, 1500), st.integers(1, 2000))
def test_shortest_edge_size__any_size__obeys_both_limits(size, shortest, longest):
    """A zero side, a side above the limit, or a shortest edge that is not exact."""
    height, width = shortest_edge_size(size, shortest, longest)
    assert 1 <= min(height, width) <= shortest
    assert max(height, width) <= longest
    assert min(height, width) == shortest or abs(max(height, width) - longest) <= 1


def test_resize_shortest_edge__by_clip__is_shared_and_every_choice_occurs():
    """Frames of one clip at several sizes; a choice that is never drawn."""
    drawn = [set(_shortest(ResizeShortestEdge((100, 120, 140), 1333, "choice_by_clip"), seed)) for seed in range(40)]
    assert all(len(sizes) == 1 for sizes in drawn)
    assert set().union(*drawn) == {100, 120, 140}


def test_resize_shortest_edge__choice__varies_by_frame():
    """One draw for all frames where each should have its own."""
    assert len(set(_shortest(ResizeShortestEdge((100, 120, 140), 1333, "choice")))) > 1


def test_resize_shortest_edge__range__includes_both_ends():
    """An end of the range that is never drawn, or a value outside."""
    drawn = {s for seed in range(40) for s in _shortest(ResizeShortestEdge((100, 103), None, "range"), seed)}
    assert drawn == {100, 101, 102, 103}
    by_clip = [set(_shortest(ResizeShortestEdge((100, 103), None, "range_by_clip"), seed)) for seed in range(10)]
    assert all(len(sizes) == 1 for sizes in by_clip)


@pytest.mark.parametrize(
    ("sizes", "style"), [((100,), "choise"), ((), "choice"), ((0,), "choice"), ((1, 2, 3), "range"), ((5, 2), "range")]
)
def test_resize_shortest_edge__bad_settings__config_error_names_the_key(sizes, style):
    """A configuration error that shows only as a foreign traceback in a worker."""
    with pytest.raises(ConfigError, match=r"INPUT\.MIN_SIZE_TRAIN"):
        ResizeShortestEdge(sizes, 1333, style)


@pytest.mark.parametrize("seed", range(6))
def test_large_scale_jitter__any_scale__fills_the_square_canvas_with_one_draw(seed):
    """A frame that is not of canvas size, a shape that is not kept, or frames that differ."""
    drawn = ClipPipeline((LargeScaleJitter(64, (0.1, 2.0)),)).sample([(30, 50)] * 3, np.random.default_rng(seed))
    assert drawn[0] == drawn[1] == drawn[2]
    resize = drawn[0][0]
    assert isinstance(resize, Resize)
    assert abs(resize.width / 5 - resize.height / 3) < 0.5
    image = np.zeros((30, 50, 3), np.uint8)
    for transform in drawn[0]:
        image = transform.apply_image(image)
    assert image.shape == (64, 64, 3)
