"""Written videos: counts, times, sizes, extensions; read back with our reader and with plain PyAV."""

from fractions import Fraction

import av
import numpy as np
import pytest

from dense.errors import VideoError
from dense.video import FrameFolderWriter, VideoWriter, check_output_path, open_frames, probe, read_picture

SUFFIXES = [".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi"]


def picture(index, height=48, width=64):
    """A frame whose number can be read back: one bright bar."""
    image = np.full((height, width, 3), 40, np.uint8)
    image[:, 4 * index : 4 * index + 4] = 230
    return image


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def number(image):
    return round(float(image[:, :, 1].mean(axis=0).argmax() // 4))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_video_writer__every_extension__plays_all_frames_in_order(tmp_path, suffix):
    """Catches files that are empty or unplayable after everything was computed; plain PyAV is the authority."""
    path = tmp_path / f"out{suffix}"
    with VideoWriter(path, size=(48, 64), rate=Fraction(24000, 1001)) as writer:
        for index in range(12):
            writer.write(picture(index))
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        assert container.streams.video[0].average_rate == Fraction(24000, 1001)
    assert [number(frame.to_ndarray(format="rgb24")) for frame in frames] == list(range(12))
    assert [frame.time for frame in frames] == pytest.approx([i * 1001 / 24000 for i in range(12)], abs=6e-4)
    assert writer.frames_written == 12
    assert names_in(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm", ".avi"])
def test_video_writer__variable_times__are_kept(tmp_path, suffix):
    """Catches output that runs at a mean rate, out of step with sound and labels (AVI: on its grid of 0.1 s)."""
    times = [0.0, 0.1, 0.5, 0.6, 2.0]
    with VideoWriter(tmp_path / f"x{suffix}", rate=10) as writer:
        for index, time_s in enumerate(times):
            writer.write(picture(index), 5 + time_s)
    frames = list(open_frames(tmp_path / f"x{suffix}"))
    assert [frame.time_s for frame in frames] == pytest.approx(times, abs=1e-3)
    assert [number(frame.image) for frame in frames] == list(range(5))


def test_video_writer__real_variable_clip__times_agree_to_a_tick(tmp_path, shared):
    """Catches drift over a whole clip."""
    frames = list(open_frames(shared / "data" / "real" / "videos" / "dog_vfr.mkv"))
    with VideoWriter(tmp_path / "x.mp4", rate=30) as writer:
        for frame in frames:
            writer.write(frame.image, frame.time_s)
    again = [frame.time_s for frame in open_frames(tmp_path / "x.mp4")]
    assert again == pytest.approx([frame.time_s for frame in frames], abs=1 / 90000)


@pytest.mark.parametrize(("height", "width", "padded"), [(49, 65, (1, 1)), (48, 65, (0, 1)), (1, 1, (1, 1)), (48, 64, (0, 0))])
def test_video_writer__odd_size__is_padded_by_its_edge_and_says_so(tmp_path, height, width, padded):
    """Catches an encoder that refuses odd sizes, and pictures scaled instead of padded."""
    image = np.full((height, width, 3), 200, np.uint8)
    with VideoWriter(tmp_path / "x.mp4") as writer:
        writer.write(image)
        writer.write(image)
    assert writer.padded == padded
    frames = list(open_frames(tmp_path / "x.mp4"))
    assert len(frames) == 2
    assert frames[0].image.shape == (height + padded[0], width + padded[1], 3)
    assert np.abs(frames[0].image.astype(int) - 200).max() <= 4


def test_video_writer__mp4__has_its_index_in_front_and_says_its_colours(tmp_path):
    """Catches files that browsers must load to the end, and players guessing the matrix."""
    with VideoWriter(tmp_path / "x.mp4") as writer:
        for index in range(3):
            writer.write(picture(index))
    data = (tmp_path / "x.mp4").read_bytes()
    assert 0 < data.find(b"moov") < data.find(b"mdat")
    assert b"moof" not in data
    with av.open(str(tmp_path / "x.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_range, context.pix_fmt) == (1, 1, "yuv420p")
    assert probe(tmp_path / "x.mp4").frames == 3


def test_video_writer__long_clip__has_a_keyframe_every_two_seconds(tmp_path):
    """Catches clips in which seeking takes minutes."""
    with VideoWriter(tmp_path / "x.mp4", rate=5) as writer:
        for index in range(35):
            writer.write(picture(index % 12))
    with av.open(str(tmp_path / "x.mp4")) as container:
        keys = [float(packet.pts * packet.time_base) for packet in container.demux(video=0) if packet.is_keyframe]
    assert max(b - a for a, b in zip([*keys, 7.0], [*keys[1:], 7.0], strict=False)) <= 2.0


@pytest.mark.parametrize("name", ["out.xyz", "out", "out.gif"])
def test_check_output_path__unknown_extension__names_it_and_makes_nothing(tmp_path, name):
    """Catches the demo that computes for an hour and then cannot write."""
    with pytest.raises(VideoError, match=r"extension.*\.mp4"):
        check_output_path(tmp_path / "new" / name)
    with pytest.raises(VideoError, match="extension"):
        VideoWriter(tmp_path / "new" / name)
    assert not (tmp_path / "new").exists()


def test_check_output_path__folder_file_in_the_way_and_missing_parent(tmp_path):
    """Catches a folder taken for a file, and a missing folder found out at the end."""
    with pytest.raises(VideoError, match="is a folder"):
        check_output_path(tmp_path)
    (tmp_path / "dir.mp4").mkdir()
    with pytest.raises(VideoError, match="is a folder"):
        check_output_path(tmp_path / "dir.mp4")
    (tmp_path / "file").write_text("x")
    with pytest.raises(VideoError, match="cannot be written"):
        check_output_path(tmp_path / "file" / "x.mp4")
    assert check_output_path(str(tmp_path / "a" / "b" / "x.MP4")).parent.is_dir()


@pytest.mark.parametrize(
    ("image", "time_s", "word"),
    [
        (picture(0)[:40], None, "Expected 64x48"),
        (picture(0).astype(np.float32), None, "float32"),
        (picture(0), 0.5, "Expected seconds that increase"),
        (picture(0), float("nan"), "Expected seconds that increase"),
    ],
)
def test_video_writer__wrong_second_frame__is_refused_and_the_file_stays_good(tmp_path, image, time_s, word):
    """Catches a bad frame that ruins those before and after it."""
    with VideoWriter(tmp_path / "x.mp4") as writer:
        writer.write(picture(0), 0.5)
        with pytest.raises(VideoError, match=f"frame 1.*{word}"):
            writer.write(image, time_s)
        writer.write(picture(1), 0.9)
    assert [number(frame.image) for frame in open_frames(tmp_path / "x.mp4")] == [0, 1]


def test_video_writer__times_closer_than_a_tick__stay_in_order(tmp_path):
    """Catches two frames on one tick, which FFmpeg refuses."""
    with VideoWriter(tmp_path / "x.avi", rate=10) as writer:
        for index in range(4):
            writer.write(picture(index), index * 0.01)
    assert [number(frame.image) for frame in open_frames(tmp_path / "x.avi")] == [0, 1, 2, 3]


@pytest.mark.parametrize("options", [{"rate": 0}, {"quality": 60}])
def test_video_writer__nonsense_option__is_refused_first(tmp_path, options):
    """Catches an encoder error after the first hour."""
    with pytest.raises(VideoError):
        VideoWriter(tmp_path / "x.mp4", **options)
    assert not list(tmp_path.iterdir())


def test_frame_folder_writer__frames__come_back_exactly(tmp_path):
    """Catches lossy or misnamed frames, and 1.jpg overwritten by 1.png."""
    noise = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    with FrameFolderWriter(tmp_path / "new" / "frames") as writer:
        names = [writer.write(noise, name=name).name for name in (None, "deep/00012.jpg", "00012.png", "../x.png")]
    assert names == ["000000.png", "00012.png", "00012_000002.png", "x.png"]
    assert names_in(tmp_path / "new" / "frames") == sorted(names)
    assert all(np.array_equal(read_picture(tmp_path / "new" / "frames" / name), noise) for name in names)


def test_frame_folder_writer__file_in_the_way__one_line(tmp_path):
    """Catches FileExistsError leaking out."""
    (tmp_path / "x").write_text("")
    with pytest.raises(VideoError, match="cannot be made"):
        FrameFolderWriter(tmp_path / "x")
