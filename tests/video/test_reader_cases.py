"""Hard videos and folders of the case collection: counts, order, times, sizes, errors."""

import numpy as np
import pytest

from dense.errors import VideoError
from dense.video import open_frames, probe

READABLE = [
    "vid-ok",
    "vid-odd-size",
    "vid-vfr",
    "vid-start-not-zero",
    "vid-b-frames",
    "vid-no-count",
    "vid-single-frame",
    "dir-natural-order",
    "dir-names-not-numbers",
]


@pytest.mark.parametrize("name", READABLE)
def test_open_frames__readable_case__gives_count_order_size_and_times(case, drawn_number, name):
    """Catches lost last frames, wrong order, guessed times, frames dropped or doubled for a constant rate."""
    one = case(name)
    facts = one.facts
    with open_frames(one.path) as source:
        assert source.size is None
        frames = list(source)
    assert len(frames) == facts["num_frames"] == source.frames_read
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert [drawn_number(frame.image) for frame in frames] == facts["order"]
    assert all(frame.image.dtype == np.uint8 and frame.image.flags.c_contiguous for frame in frames)
    if "size" in facts:
        assert source.size == tuple(facts["size"][::-1])
        assert all(frame.image.shape == (*source.size, 3) for frame in frames)
    if "times" in facts:
        relative = [time - facts["times"][0] for time in facts["times"]]
        assert [frame.time_s for frame in frames] == pytest.approx(relative, abs=facts["time_tol"])


def test_open_frames__rotated_phone_video__is_upright(case, corner_of_red):
    """Catches the display matrix being ignored, applied twice or the wrong way round."""
    one = case("vid-rotate-90")
    with open_frames(one.path) as source:
        frames = list(source)
    assert len(frames) == one.facts["num_frames"]
    assert source.size == tuple(one.facts["size"][::-1])
    assert {corner_of_red(frame.image) for frame in frames} == {one.facts["red_corner"]}
    assert probe(one.path).rotation == 90


@pytest.mark.parametrize("name", ["vid-zero-frames", "vid-no-moov", "vid-audio-only", "dir-empty", "img-folder-empty"])
def test_open_frames__unreadable_case__raises_one_line_that_names_it(case, name):
    """Catches foreign tracebacks, StopIteration, and a silent zero frames."""
    one = case(name)
    path = one.folder / next(iter(one.inputs.values()))
    with pytest.raises(VideoError) as caught:
        list(open_frames(path))
    text = str(caught.value)
    assert "\n" not in text
    for wanted in one.expect["must_name"]:
        assert any(word in text for word in ([wanted] if isinstance(wanted, str) else wanted)), (wanted, text)


def test_open_frames__empty_folder_with_sub_folder__points_to_it(case):
    """Catches a message that leaves the user guessing when the pictures are one level deeper."""
    with pytest.raises(VideoError, match=r"\*\.png.*sub-folder sub"):
        open_frames(case("dir-empty").path)


def test_open_frames__text_empty_or_picture_named_mp4__error_or_one_frame(case):
    """Catches trust in the extension."""
    one = case("vid-not-a-video")
    for name in ("text.mp4", "empty.mp4"):
        with pytest.raises(VideoError, match=name):
            open_frames(one.folder / name)
    assert len(list(open_frames(one.folder / "picture.mp4"))) == 1


def test_open_frames__constant_and_variable_rate__are_told_apart(case):
    """Catches a rate taken from the header as if all steps were equal."""
    for name, constant in (("vid-ok", True), ("vid-vfr", False), ("vid-single-frame", None)):
        with open_frames(case(name).path) as source:
            assert source.is_constant_rate is None
            list(source)
        assert source.is_constant_rate is constant, name


def test_open_frames__header_without_count__num_frames_is_none(case):
    """Catches 0 or a guess given as the total of a progress bar."""
    assert open_frames(case("vid-no-count").path).num_frames is None
    assert open_frames(case("vid-ok").path).num_frames == 10
