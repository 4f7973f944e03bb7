"""Real clips in many codecs: frame counts counted independently (README beside the clips), damage, rotation."""

from fractions import Fraction

import av
import numpy as np
import pytest

from dense.errors import VideoError
from dense.video import DamagedVideoError, open_frames, probe

COUNTS = {
    "bars_av1.mkv": (125, 360, 640),
    "bars_h264_10bit.mp4": (30, 200, 200),
    "bars_hevc_10bit.mp4": (30, 200, 200),
    "bunny_vp8.webm": (24, 720, 1280),
    "dog_gray_ffv1.mkv": (20, 136, 240),
    "dog_hevc_10bit.mp4": (45, 240, 426),
    "dog_mjpeg_odd_333x187.avi": (24, 187, 333),
    "dog_mpeg2.ts": (45, 198, 352),
    "dog_mpeg2_bitflips.ts": (45, 198, 352),
    "dog_portrait_vp9.webm": (45, 360, 202),
    "dog_vfr.mkv": (45, 240, 426),
    "dog_h264_720p.mp4": (289, 720, 1280),
    "juggle_h264_720p.mp4": (247, 720, 1280),
    "keys_rot0.mov": (3, 320, 568),
    "keys_rot90.mov": (3, 568, 320),
    "keys_rot180.mov": (3, 320, 568),
    "keys_rot270.mov": (3, 568, 320),
    "nasa_two_video_two_audio.mp4": (390, 270, 480),  # the best of the two streams
}


@pytest.fixture
def clips(shared):
    return shared / "data" / "real" / "videos"


@pytest.mark.parametrize("name", COUNTS)
def test_open_frames__real_clip__gives_all_frames(clips, name):
    """Catches lost frames, wrong sizes and times that do not increase, per codec and container."""
    count, *size = COUNTS[name]
    last = -1.0
    with open_frames(clips / name) as source:
        for frame in source:
            assert frame.time_s > last
            last = frame.time_s
    assert source.frames_read == count
    assert source.size == tuple(size)
    assert source.num_frames in (None, count)


@pytest.mark.parametrize(("name", "good", "header"), [("bars_corrupted.mp4", 28, 50), ("dog_cut_faststart.mp4", 22, 45)])
def test_open_frames__damaged_in_the_middle__delivers_good_frames_then_says_so(clips, name, good, header):
    """Catches good frames thrown away, smeared frames delivered, and a cut file taken for a complete one."""
    taken = []
    with pytest.raises(DamagedVideoError, match=f"{name}: damaged after frame {good - 1}; {good} of {header}") as caught:
        taken.extend(frame.index for frame in open_frames(clips / name))
    assert len(taken) == caught.value.frames_read == good


@pytest.mark.parametrize(
    ("name", "word"),
    [("dog_cut_no_index.mp4", "cut off"), ("empty.mp4", "0 bytes"), ("nasa_audio_only.mp3", "no video stream")],
)
def test_open_frames__clip_that_cannot_open__one_line(clips, name, word):
    """Catches foreign exceptions on opening."""
    with pytest.raises(VideoError, match=f"{name}: .*{word}"):
        open_frames(clips / name)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_open_frames__display_matrix__equals_the_turn_that_ffmpeg_reports(clips, degrees):
    """Catches a wrong reading of the matrix; FFmpeg's own angle (counter-clockwise) is the authority."""
    path = clips / f"keys_rot{degrees}.mov"
    with av.open(str(path)) as container:
        raw = next(container.decode(video=0))
        expected = np.rot90(raw.to_ndarray(format="rgb24"), round(raw.rotation / 90))
    with open_frames(path) as source:
        ours = next(iter(source)).image
    assert np.array_equal(ours, expected)
    assert probe(path).rotation == degrees


def test_open_frames__two_video_streams__takes_the_best_and_says_which(clips):
    """Catches a silent choice; the other stream stays reachable by its number."""
    path = clips / "nasa_two_video_two_audio.mp4"
    with open_frames(path) as source:
        assert "2 video streams [0, 3]; stream 3 (480x270) is read." in source.notes
    with open_frames(path, stream=0) as source:
        assert sum(1 for _ in source) == 325
        assert source.size == (180, 320)
    with pytest.raises(VideoError, match=r"stream 1 is no video stream. Expected one of \[0, 3\]"):
        open_frames(path, stream=1)


def test_open_frames__bit_flips__conceals_and_counts(clips):
    """Catches concealed frames passed off as good ones without a word."""
    with open_frames(clips / "dog_mpeg2_bitflips.ts") as source:
        assert sum(1 for _ in source) == 45
    assert any("10 frames" in note and "concealed" in note for note in source.notes)


def test_probe__real_clip__says_what_it_is(clips):
    """Catches a report that mixes up the streams or gives the stored size of a turned video."""
    info = probe(clips / "dog_h264_720p.mp4")
    assert (info.codec, info.pixel_format, info.size, info.frames) == ("h264", "yuv420p", (720, 1280), 289)
    assert info.rate == Fraction(30000, 1001)
    assert info.streams[:2] == ("0 video h264 1280x720", "1 audio aac")
    assert probe(clips / "keys_rot90.mov").size == (568, 320)
