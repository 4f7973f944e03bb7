"""Damage, clocks and odd files made here, where the right answer follows from how they were made."""

import io
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
from av.stream import Disposition
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dense.errors import VideoError
from dense.video import DamagedVideoError, VideoWriter, open_frames, probe


def make_clip(path, frames=35, rate=5):
    """Keyframes at 0, 10, 20, 30; each frame holds its number as brightness."""
    with VideoWriter(path, rate=rate) as writer:
        for index in range(frames):
            writer.write(np.full((48, 64, 3), 40 + 5 * index, np.uint8))
    return path


def numbers(frames):
    return [round((float(frame.image.mean()) - 40) / 5) for frame in frames]


def packets(path):
    with av.open(str(path)) as container:
        return [(packet.pos, packet.size, packet.is_keyframe) for packet in container.demux(video=0) if packet.size]


def test_open_frames__one_broken_packet__goes_on_at_the_next_keyframe_and_counts(tmp_path):
    """Catches a stop at the first error, smeared frames after it, and a silent gap; times stay those of the file."""
    path = make_clip(tmp_path / "x.mp4")
    table = packets(path)
    assert [index for index, entry in enumerate(table) if entry[2]] == [0, 10, 20, 30]
    data = bytearray(path.read_bytes())
    data[table[12][0] : table[12][0] + 4] = b"\xff\xff\xff\xff"  # length of the packet's first unit
    path.write_bytes(data)
    with open_frames(path) as source:
        frames = list(source)
    assert numbers(frames) == [*range(12), *range(20, 35)]
    assert [frame.time_s for frame in frames] == pytest.approx([n / 5 for n in [*range(12), *range(20, 35)]])
    assert "8 packets could not be decoded and were skipped up to the next keyframe." in source.notes
    assert "The header says 35 frames, 27 were decoded." in source.notes
    assert source.num_frames == 27


@pytest.mark.parametrize("kept", [1, 17])
def test_open_frames__cut_between_two_packets__is_not_taken_for_complete(tmp_path, kept):
    """Catches the cut that FFmpeg reports as an ordinary end."""
    path = make_clip(tmp_path / "x.mp4")
    path.write_bytes(path.read_bytes()[: packets(path)[kept][0]])
    source = open_frames(path)
    assert source.num_frames is None
    with pytest.raises(DamagedVideoError, match=f"damaged after frame {kept - 1}; {kept} of 35 frames") as caught:
        list(source)
    assert caught.value.frames_read == kept


def test_open_frames__index_only__is_one_line(tmp_path):
    """Catches zero frames reported as damage after frame -1."""
    path = make_clip(tmp_path / "x.mp4")
    path.write_bytes(path.read_bytes()[: packets(path)[0][0]])
    with pytest.raises(VideoError, match=r"x\.mp4: no frame could be decoded of 35"):
        list(open_frames(path))


def test_open_frames__two_recordings_joined__times_go_on(case, drawn_number, tmp_path):
    """Catches times that jump back when transport streams are joined byte by byte."""
    data = case("vid-start-not-zero").path.read_bytes()
    (tmp_path / "x.ts").write_bytes(data + data)
    frames = list(open_frames(tmp_path / "x.ts"))
    assert [drawn_number(frame.image) for frame in frames] == [*range(8), *range(8)]
    times = [frame.time_s for frame in frames]
    assert all(later > earlier for earlier, later in pairwise(times))
    assert times == pytest.approx([index / 10 for index in range(16)], abs=0.002)


def test_open_frames__raw_stream_without_times__takes_the_rate(tmp_path):
    """Catches None as a time: raw H.264 has no clock."""
    clip = make_clip(tmp_path / "x.mp4", frames=6)
    with av.open(str(clip)) as source, av.open(str(tmp_path / "x.h264"), "w", format="h264") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    frames = list(open_frames(tmp_path / "x.h264"))
    assert numbers(frames) == list(range(6))
    times = [frame.time_s for frame in frames]
    assert times[0] == 0
    assert np.diff(times) == pytest.approx(np.full(5, times[1]), abs=1e-6)


def test_open_frames__size_changes_inside_a_stream__names_the_frame(tmp_path):
    """Catches pictures of two sizes from one file (JPEG stream)."""
    data = io.BytesIO()
    for size in [(64, 48)] * 3 + [(96, 64)]:
        Image.new("RGB", size, (90, 90, 90)).save(data, format="JPEG")
    (tmp_path / "x.mjpeg").write_bytes(data.getvalue())
    with pytest.raises(DamagedVideoError, match=r"frame 3 is 96x64 .* before it are 64x48"):
        list(open_frames(tmp_path / "x.mjpeg"))


def test_open_frames__pixels_not_square__says_so(tmp_path):
    """Catches DVD and DV pictures taken for square without a word."""
    with av.open(str(tmp_path / "x.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(16, 15)
        frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert any("16/15" in note for note in probe(tmp_path / "x.mp4").notes)


def test_open_frames__sound_with_cover_picture__is_no_video(tmp_path):
    """Catches the album cover of a song read as a video of one frame."""
    with av.open(str(tmp_path / "song.mp4"), "w") as container:
        sound, cover = container.add_stream("aac", rate=44100), container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
        frame.pts = 0
        container.mux([*cover.encode(frame), *cover.encode(None)])
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 8820), np.int16), format="s16", layout="stereo")
        samples.rate = 44100
        container.mux([*sound.encode(samples), *sound.encode(None)])
    with pytest.raises(VideoError, match=r"song\.mp4: no video stream \(found: audio, cover picture\)"):
        open_frames(tmp_path / "song.mp4")


def test_open_frames__first_loop_broken_off__closes_the_file(tmp_path):
    """Catches a file handle kept open after `break`."""
    source = open_frames(make_clip(tmp_path / "x.mp4", frames=5))
    for frame in source:
        if frame.index == 2:
            break
    source.close()
    source.close()
    assert source.frames_read == 3


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0.0002, 3.0), min_size=1, max_size=6), st.floats(0, 1e4))
def test_video_writer__any_increasing_times__come_back(tmp_path_factory, steps, start):
    """Catches rounding, drift and large offsets in frame times, in any combination."""
    times = np.concatenate([[0.0], np.cumsum(steps)])
    path = tmp_path_factory.mktemp("times") / "x.mp4"
    with VideoWriter(path, rate=25) as writer:
        for time_s in times:
            writer.write(np.zeros((16, 16, 3), np.uint8), float(start + time_s))
    assert [frame.time_s for frame in open_frames(path)] == pytest.approx(times, abs=1.01 / 90000)
