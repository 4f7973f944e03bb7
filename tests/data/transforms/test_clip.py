"""Clip-consistent draws: crop, flip, rotation, chance, and the pipeline of all."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dense.data.transforms import (
    ClipChance,
    ClipColour,
    ClipCrop,
    ClipFlip,
    ClipPipeline,
    ClipRotation,
    PseudoRotation,
    ResizeShortestEdge,
)
from dense.errors import ConfigError

SIZES = [(400, 700)] * 5


def _draw(augmentation, seed, sizes=SIZES):
    return augmentation.sample(sizes, np.random.default_rng(seed))


@given(
    st.sampled_from(
        [("absolute", (384, 600)), ("absolute_range", (384, 600)), ("relative", (0.5, 0.9)), ("relative_range", (0.3, 0.3))]
    ),
    st.tuples(st.integers(1, 900), st.integers(1, 900)),
    st.integers(0, 2**31),
)
def test_clip_crop__any_frame__lies_inside_and_is_shared(kind, size, seed):
    """A crop that leaves the frame, is empty, or differs between frames."""
    drawn = _draw(ClipCrop(*kind), seed, [size] * 3)
    crop = drawn[0][0]
    assert drawn[1] == drawn[2] == [crop]
    assert crop.top >= 0
    assert crop.left >= 0
    assert 1 <= crop.height <= size[0] - crop.top
    assert 1 <= crop.width <= size[1] - crop.left


def test_clip_crop__absolute_range__draws_each_side_in_its_range():
    """Sides that are not independent, or ends that are never reached."""
    crops = [_draw(ClipCrop("absolute_range", (384, 388)), seed)[0][0] for seed in range(200)]
    assert {crop.height for crop in crops} == set(range(384, 389))
    assert {crop.width for crop in crops} == set(range(384, 389))
    assert len({(crop.height, crop.width) for crop in crops}) == 25
    assert min(crop.left for crop in crops) < 10
    assert max(crop.left + crop.width for crop in crops) > 690


def test_clip_crop__relative__is_the_fraction_of_each_side():
    """Fractions of the wrong side."""
    crop = _draw(ClipCrop("relative", (0.5, 0.9)), 0)[0][0]
    assert (crop.height, crop.width) == (200, 630)


@pytest.mark.parametrize(
    ("kind", "size"),
    [("abs", (1, 2)), ("absolute", (0, 5)), ("relative", (0.5, 1.5)), ("absolute_range", (600, 384)), ("absolute", (5,))],
)
def test_clip_crop__bad_settings__config_error_names_the_key(kind, size):
    """A crop of nothing, found only when training has begun."""
    with pytest.raises(ConfigError, match=r"INPUT\.PSEUDO\.CROP"):
        ClipCrop(kind, size)


def test_clip_flip__by_clip__all_frames_or_none():
    """A clip in which objects jump from side to side."""
    counts = [sum(map(len, _draw(ClipFlip(0.5), seed))) for seed in range(60)]
    assert set(counts) == {0, 5}
    assert 15 <= counts.count(5) <= 45


def test_clip_flip__per_frame__mixes_within_a_clip():
    """A shared draw where frames should have their own."""
    assert 0 < sum(map(len, _draw(ClipFlip(0.5, by_clip=False), 1, SIZES * 4))) < 20


def test_clip_chance__half__all_augmentations_or_none():
    """Resizing without the crop that belongs to it, or a decision per frame."""
    augmentation = ClipChance((ResizeShortestEdge((400, 500)), ClipCrop("absolute", (64, 64))))
    counts = [[len(transforms) for transforms in _draw(augmentation, seed)] for seed in range(60)]
    assert {tuple(c) for c in counts} == {(0,) * 5, (2,) * 5}


def test_pseudo_rotation__many_clips__sorted_in_both_directions_about_one_centre():
    """Jitter instead of motion; only one direction of turning; a wandering centre."""
    directions = set()
    for seed in range(20):
        rotations = [transforms[0] for transforms in _draw(PseudoRotation(), seed)]
        steps = np.diff([r.angle for r in rotations])
        assert (steps >= 0).all() or (steps <= 0).all()
        assert all(-15 <= r.angle <= 15 for r in rotations)
        assert len({r.centre for r in rotations}) == 1
        assert all(0.4 <= c <= 0.6 for c in rotations[0].centre)
        directions.add(bool(steps[0] > 0))
    assert directions == {True, False}


def test_clip_rotation__by_clip_or_not__draws_once_or_per_frame():
    """Frames of a real clip turned against each other."""
    assert len({t[0] for t in _draw(ClipRotation(), 0)}) == 1
    assert len({t[0] for t in _draw(ClipRotation(by_clip=False), 0)}) == 5


def test_clip_pipeline__equal_generators__equal_draws_and_global_state_untouched():
    """Randomness from global state, which exact resume cannot restore."""
    pipeline = ClipPipeline(
        (
            ClipChance((ResizeShortestEdge((400, 500, 600), 1333), ClipCrop("absolute_range", (384, 600)))),
            ResizeShortestEdge((360, 480), 1333, "choice"),
            ClipFlip(),
            ClipColour("brightness"),
            ClipRotation(),
        )
    )
    state = np.random.get_state()[1].tobytes()  # noqa: NPY002 (what must not change)
    assert _draw(pipeline, 3) == _draw(pipeline, 3)
    assert _draw(pipeline, 3) != _draw(pipeline, 4)
    assert np.random.get_state()[1].tobytes() == state  # noqa: NPY002


def test_clip_pipeline__crop_after_resize__sees_the_resized_frame():
    """A crop drawn for the original size, that would leave the resized frame."""
    pipeline = ClipPipeline((ResizeShortestEdge((50,)), ClipCrop("absolute", (384, 384))))
    resize, crop = _draw(pipeline, 0)[0]
    assert (resize.height, resize.width) == (50, 88)
    assert (crop.height, crop.width) == (50, 88)
