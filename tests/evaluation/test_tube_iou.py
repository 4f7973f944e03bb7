"""Spatio-temporal IoU of tracks."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dense.evaluation.tube_iou import mean_visible_area, tube_areas, tube_iou
from dense.structures import rle


def random_tubes(rng, count, frames, height, width):
    """``(N, T, H, W)`` bool blocks with some frames empty, and the same as RLE with ``None`` for some of the empty ones."""
    dense = np.zeros((count, frames, height, width), bool)
    for n in range(count):
        for t in range(frames):
            y, x = rng.integers(0, height), rng.integers(0, width)
            dense[n, t, y : y + rng.integers(0, height + 1), x : x + rng.integers(0, width + 1)] = rng.random() < 0.8
    tubes = [[rle.encode(m) if m.any() or rng.random() < 0.5 else None for m in tube] for tube in dense]
    return dense, tubes


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 4), st.integers(0, 4), st.integers(1, 4), st.integers(1, 9), st.integers(1, 9))
def test_tube_iou__random_tubes__equal_to_counting_pixels(seed, predicted, annotated, frames, height, width):
    """Catches wrong intersections or unions, frames present on one side only, 0/0."""
    rng = np.random.default_rng(seed)
    a, a_tubes = random_tubes(rng, predicted, frames, height, width)
    b, b_tubes = random_tubes(rng, annotated, frames, height, width)
    got = tube_iou(a_tubes, b_tubes, frames)
    assert got.shape == (predicted, annotated)
    for i in range(predicted):
        for j in range(annotated):
            union = (a[i] | b[j]).sum()
            assert got[i, j] == ((a[i] & b[j]).sum() / union if union else 0)
    np.testing.assert_array_equal(tube_areas(a_tubes, frames), a.sum((2, 3)))


def test_tube_iou__more_than_32_bits_of_pixels__exact():
    """Catches counting in 32 bits: 2,200 frames of 1080x1920 are 4.6e9 pixels, which overflows silently in the COCO library."""
    height, width, frames = 1080, 1920, 2200
    full = rle.to_rle({"size": [height, width], "counts": [0, height * width]}, height, width)
    half = rle.to_rle({"size": [height, width], "counts": [0, height * width // 2, height * width // 2]}, height, width)
    assert height * width * frames > 2**32
    tubes = [[full] * frames, [half] * frames, [full] * 550 + [None] * 1650]
    np.testing.assert_array_equal(tube_iou(tubes, tubes[:1], frames)[:, 0], [1.0, 0.5, 0.25])
    assert tube_areas(tubes[:1], frames).sum() == height * width * frames


def test_mean_visible_area__zeros_and_none__left_out():
    """Catches averages over all frames of the video."""
    assert mean_visible_area([None, 4.0, 0.0, 8.0]) == 6.0
    assert mean_visible_area([None, 0.0]) == 0.0
    assert mean_visible_area(np.array([0, 5])) == 5.0


def test_tube_areas__more_than_255_frames__all_counted():
    """Catches the 8-bit number of masks in pycocotools' `area` (an error, or with old NumPy silently too few areas)."""
    masks = [rle.encode(np.arange(6).reshape(2, 3) < t % 7) for t in range(700)]
    assert tube_areas([masks], 700)[0].tolist() == [t % 7 for t in range(700)]
