"""From tracks to timeline rows."""

import numpy as np
import pytest

from dense.structures import Track
from dense.structures.rle import encode
from dense.visualization.tracks import paired_rows, track_rows, video_iou


def boxes(*lefts, width=10):
    """A track of 20×40 frames, a box at each ``left``, ``None`` where absent."""
    masks = []
    for left in lefts:
        mask = np.zeros((20, 40), bool)
        mask[5:15, 0 if left is None else left : 0 if left is None else left + width] = True
        masks.append(None if left is None else encode(mask))
    return masks


def test_video_iou__shifted_and_absent__brute_force():
    """Catches mean-of-frames instead of sum-over-sum, and frames where one is absent left out of the union."""
    one, other = boxes(0, 10, None, 4), boxes(5, None, 7, 4)
    assert video_iou(one, other) == pytest.approx((50 + 0 + 0 + 100) / (150 + 100 + 100 + 100))
    assert video_iou(boxes(None), boxes(None)) == 0


def test_paired_rows__two_rivals__best_score_takes_the_ground_truth():
    """Catches a ground truth matched twice, or across labels."""
    truth = [Track(1, 0, 1.0, boxes(0, 0)), Track(2, 1, 1.0, boxes(20, None))]
    guesses = [
        Track(7, 0, 0.6, boxes(0, 0)),
        Track(8, 0, 0.9, boxes(2, 2)),
        Track(9, 0, 0.8, boxes(20, 20)),
        Track(3, 1, 0.2, boxes(20, 20)),
    ]
    rows = {(row.ground_truth, row.track_id): row for row in paired_rows(truth, guesses, ["cat", "dog"])}
    assert list(rows) == [(True, 1), (True, 2), (False, 8), (False, 9), (False, 7)]
    assert rows[False, 8].match == 1
    assert rows[False, 8].iou == pytest.approx(8 / 12)
    assert rows[False, 7].match is None
    assert rows[False, 9].match is None
    assert rows[True, 2].seen == [True, False]
    assert rows[True, 2].label == "dog"
    assert rows[True, 1].score is None


def test_track_rows__empty_masks_and_low_scores__unseen_and_left_out():
    """Catches an all-zero mask counted as seen."""
    tracks = [Track(1, 0, 0.5, [encode(np.zeros((4, 4))), encode(np.ones((4, 4))), None]), Track(2, 0, 0.1, [None] * 3)]
    (row,) = track_rows(tracks, ["cat"])
    assert row.seen == [False, True, False]
    assert row.label == "cat"
