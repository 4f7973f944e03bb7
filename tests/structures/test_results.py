"""Results: typed, unchangeable."""

import dataclasses

import pytest

from dense.structures import FrameResult, Track, VideoResult


def test_video_result__frames__are_counted_by_their_times():
    """Catches a length that does not follow the times, and results changed by whoever receives them."""
    track = Track(track_id=3, label=1, score=0.5, masks=[None, None])
    result = VideoResult(height=4, width=5, times_s=[0.0, 0.04], tracks=[track])
    assert result.num_frames == 2
    assert result.categories == []
    with pytest.raises(dataclasses.FrozenInstanceError):
        track.score = 1.0


def test_frame_result__panoptic__is_optional():
    """Catches a required field that instance models cannot fill."""
    frame = FrameResult(0, 0.0, 4, 5, [], [], [], [])
    assert frame.panoptic is None
