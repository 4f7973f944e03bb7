"""Frame sampling: the laws of both ways, short videos, the quirks that are kept."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dense.data.mappers import FrameSampler, sample_frames
from dense.errors import ConfigError, DataError

LENGTHS = st.integers(1, 40)


@settings(max_examples=300, deadline=None)
@given(LENGTHS, st.integers(1, 12), st.integers(0, 12), st.integers(0, 2**31), st.booleans(), st.booleans(), st.booleans())
def test_sample_frames__any_setting__gives_that_many_frames_of_the_video(length, n, r, seed, reverse, shuffle, always):
    """A clip of the wrong length, an index outside the video, a crash on short videos."""
    rng = np.random.default_rng(seed)
    frames = sample_frames(length, n, r, rng, reverse=reverse, shuffle=shuffle, always_replace=always)
    assert len(frames) == n
    assert all(type(t) is int and 0 <= t < length for t in frames)


@given(LENGTHS, st.integers(1, 5), st.integers(0, 2**31))
def test_sample_frames__consecutive__runs_without_gap_or_repeats_at_the_end(length, r, seed):
    """Gaps; a short video whose own frames are not all there, or come late."""
    n = 2 * r + 1
    frames = sample_frames(length, n, r, np.random.default_rng(seed))
    kept = min(length, n)
    assert frames[:kept] == list(range(frames[0], frames[0] + kept))
    assert length >= n or frames[0] == 0


@settings(max_examples=300, deadline=None)
@given(LENGTHS, st.integers(2, 12), st.integers(0, 12), st.integers(0, 2**31), st.booleans())
def test_sample_frames__scattered__sorted_near_a_reference_and_distinct_if_possible(length, n, r, seed, always):
    """Frames too far apart, out of order, or repeated although the window is large enough."""
    if 2 * r + 1 == n:
        r += 1
    frames = sample_frames(length, n, r, np.random.default_rng(seed), always_replace=always)
    assert frames == sorted(frames)
    near = [t for t in set(frames) if all(abs(other - t) <= r for other in frames)]
    assert near
    windows = [min(t + r, length - 1) - max(t - r, 0) + 1 for t in near]
    if not always and min(windows) >= n:
        assert len(set(frames)) == n


def _starts(length, seeds=400):
    return {sample_frames(length, 3, 1, np.random.default_rng(s))[0] for s in range(seeds)}


def test_sample_frames__consecutive__last_start_is_never_drawn():
    """The quirk of the reference: starts 0 to L-n-1, except that L = n has its only start."""
    assert _starts(8) == {0, 1, 2, 3, 4}
    assert _starts(4) == {0}
    assert _starts(3) == {0}


def test_sample_frames__short_video__repeats_are_not_sorted():
    """The quirk of the reference: repeated frames follow the whole video."""
    clips = [sample_frames(2, 7, 3, np.random.default_rng(s)) for s in range(30)]
    assert all(clip[:2] == [0, 1] for clip in clips)
    assert any(clip != sorted(clip) for clip in clips)
    assert sample_frames(1, 5, 2, np.random.default_rng(0)) == [0] * 5
    assert sample_frames(1, 5, 9, np.random.default_rng(0)) == [0] * 5


def test_sample_frames__reverse__half_of_the_consecutive_clips():
    """Reversal that is never, always, or partly done."""
    clips = [sample_frames(30, 5, 2, np.random.default_rng(s), reverse=True) for s in range(200)]
    steps = [set(np.diff(clip)) for clip in clips]
    assert all(step in ({1}, {-1}) for step in steps)
    assert 60 <= steps.count({-1}) <= 140


def test_sample_frames__shuffle__only_scattered_clips_lose_their_order():
    """An order that is kept although shuffling is asked for, or lost where it must not be."""
    scattered = [sample_frames(40, 6, 10, np.random.default_rng(s), shuffle=True) for s in range(10)]
    assert any(clip != sorted(clip) for clip in scattered)
    assert all(len(set(clip)) == 6 for clip in scattered)
    assert np.diff(sample_frames(40, 5, 2, np.random.default_rng(0), shuffle=True)).tolist() == [1] * 4


def test_sample_frames__always_replace__repeats_in_a_large_window():
    """The rule of the panoptic and semantic mappers not followed."""
    clips = [sample_frames(40, 6, 4, np.random.default_rng(s), always_replace=True) for s in range(30)]
    assert any(len(set(clip)) < 6 for clip in clips)


def test_sample_frames__one_frame__is_uniform_over_the_video():
    """A frame (the last one, say) that single-frame training never sees."""
    assert {sample_frames(5, 1, 20, np.random.default_rng(s))[0] for s in range(100)} == set(range(5))
    assert {sample_frames(5, 1, 0, np.random.default_rng(s))[0] for s in range(100)} == set(range(5))


def test_sample_frames__impossible__says_so():
    """Foreign errors for an empty video or settings without meaning."""
    with pytest.raises(DataError, match="0 frames"):
        sample_frames(0, 5, 2, np.random.default_rng(0))
    with pytest.raises(ConfigError, match="SAMPLING_FRAME_NUM"):
        sample_frames(5, 0, 2, np.random.default_rng(0))


def test_frame_sampler__settings__are_those_of_the_function():
    """A setting that is not passed on."""
    for sampler in (
        FrameSampler(5, 2, reverse=True),
        FrameSampler(6, 10, shuffle=True),
        FrameSampler(6, 4, always_replace=True),
    ):
        for seed in range(10):
            expected = sample_frames(
                30,
                sampler.num_frames,
                sampler.frame_range,
                np.random.default_rng(seed),
                reverse=sampler.reverse,
                shuffle=sampler.shuffle,
                always_replace=sampler.always_replace,
            )
            assert sampler(30, np.random.default_rng(seed)) == expected
