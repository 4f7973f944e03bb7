"""Overlaps of tracks in one video against counting of pixels."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dense.evaluation.video_overlaps import frame_overlaps, measure_overlaps, stays
from dense.structures import rle


def as_masks(pixels):
    return [[rle.encode(mask) if mask.any() else None for mask in track] for track in pixels]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_measure_overlaps__random_tubes__equal_to_counting_pixels(seed):
    """Catches frames counted that should not be, crowds followed, and a wrong best object of a frame."""
    rng = np.random.default_rng(seed)
    d, g, frames = (int(n) for n in rng.integers(0, [5, 4, 5]))
    base = rng.random((g + 1, frames, 4, 5)) < 0.6
    predicted = base[rng.integers(0, g + 1, d)] & (rng.random((d, frames, 4, 5)) < 0.8) & (rng.random((d, frames, 1, 1)) < 0.7)
    annotated, crowd = base[:g], rng.random(g) < 0.3
    got = measure_overlaps(as_masks(predicted), as_masks(annotated), crowd, frames)
    assert got.tube.shape == got.present.shape == (d, g)
    for i in range(d):
        exists = predicted[i].any((1, 2))
        for j in range(g):
            both, either = (predicted[i] & annotated[j]).sum((1, 2)), (predicted[i] | annotated[j]).sum((1, 2))
            np.testing.assert_allclose(got.tube[i, j], both.sum() / max(either.sum(), 1))
            np.testing.assert_allclose(got.present[i, j], both[exists].sum() / max(either[exists].sum(), 1))
            shared, union = frame_overlaps(
                as_masks(predicted)[i], as_masks(annotated)[j], got.predicted_areas[i], got.annotated_areas[j]
            )
            np.testing.assert_array_equal([shared, union], [both, either])
        for t in range(frames):
            ratios = [
                0 if crowd[j] else (predicted[i, t] & annotated[j, t]).sum() / max((predicted[i, t] | annotated[j, t]).sum(), 1)
                for j in range(g)
            ]
            best = max(ratios, default=0)
            assert got.followed[i, t] == (ratios.index(best) if best >= 0.5 else -1)


def test_stays__single_frames_and_gaps__passed_over():
    """Catches a stay ended by a gap or begun by one frame, and stays on one object that are not joined."""
    followed = np.array([3, 3, -1, 3, 5, 3, -1, 5, 5, -1, 5, 3])
    assert [(g, frames.tolist()) for g, frames in stays(followed)] == [(3, [0, 1, 3]), (5, [7, 8, 10])]
    assert stays(np.full(4, -1)) == []
    assert stays(np.array([2, 4, 2, 4])) == []
