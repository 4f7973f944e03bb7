"""Folders, patterns, cameras and arrays as sources, and the rules all sources share."""

import os
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from dense.errors import VideoError
from dense.video import DamagedVideoError, Frame, list_pictures, open_frames

GRAY = np.full((4, 6), 7, np.uint8)
COLOUR = np.dstack([GRAY, GRAY + 1, GRAY + 2])


def save(path, array=COLOUR):
    Image.fromarray(array).save(path)


def test_open_frames__arrays__are_validated_and_promoted():
    """Catches gray pictures refused or left two-dimensional, and generators consumed at once."""
    drawn = []

    def draw():
        for index in range(3):
            drawn.append(index)
            yield GRAY if index else COLOUR

    with open_frames(draw(), rate=4) as source:
        iterator = iter(source)
        first = next(iterator)
        assert drawn == [0]
        rest = list(iterator)
    assert source.num_frames is None
    assert [frame.time_s for frame in (first, *rest)] == [0, 0.25, 0.5]
    assert [frame.name for frame in rest] == ["000001", "000002"]
    assert np.array_equal(first.image, COLOUR)
    assert (rest[0].image == 7).all()
    assert rest[0].image.shape == (4, 6, 3)


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        (COLOUR.astype(np.float32), "float32"),
        (COLOUR.astype(np.uint16), "uint16"),
        (COLOUR > 7, "bool"),
        (np.zeros((3, 4, 6), np.uint8), "channels to the end"),
        (np.zeros((4, 6, 4), np.uint8), r"\(4, 6, 4\)"),
        (np.zeros((0, 6, 3), np.uint8), "no pixels"),
        ("text", "str"),
        (None, "NoneType"),
    ],
)
def test_open_frames__wrong_array__names_frame_and_fault(bad, word):
    """Catches floats taken for bytes and channel-first tensors read as slim pictures."""
    with pytest.raises(VideoError, match=f"frame 1: .*{word}"):
        list(open_frames([COLOUR, bad]))


@pytest.mark.parametrize("array", [COLOUR, GRAY, np.zeros((2, 4, 6), np.uint8)])
def test_open_frames__one_array_that_is_no_stack__is_refused(array):
    """Catches one picture iterated row by row."""
    with pytest.raises(VideoError, match=r"Expected \(T, H, W, 3\)"):
        open_frames(array)


def test_open_frames__stack_of_frames__is_taken_apart():
    """Catches the four-dimensional array that is the natural form in memory being refused."""
    assert len(list(open_frames(np.zeros((5, 4, 6, 3), np.uint8)))) == 5


def test_open_frames__frame_objects__keep_time_and_name():
    """Catches times lost when one source is piped into another."""
    frames = [Frame(0, 0.0, COLOUR, "a.jpg"), Frame(1, 0.7, COLOUR, "b.jpg")]
    assert [(frame.time_s, frame.name) for frame in open_frames(frames)] == [(0.0, "a.jpg"), (0.7, "b.jpg")]
    with pytest.raises(VideoError, match="Expected times that increase"):
        list(open_frames(frames[::-1]))


def test_open_frames__size_changes__names_the_frame(tmp_path):
    """Catches frames of two sizes reaching a model or an encoder."""
    save(tmp_path / "1.png")
    save(tmp_path / "2.png", COLOUR[:3])
    taken = []
    with pytest.raises(DamagedVideoError, match=r"frame 1 \(2\.png\) is 6x3 .* before it are 6x4") as caught:
        taken.extend(frame.name for frame in open_frames(tmp_path))
    assert taken == ["1.png"]
    assert caught.value.frames_read == 1


def test_open_frames__broken_picture_in_folder__good_ones_come_first(tmp_path):
    """Catches good frames lost, or the broken file not named."""
    save(tmp_path / "1.png")
    (tmp_path / "2.png").write_bytes(b"no picture")
    with pytest.raises(DamagedVideoError, match=r"damaged after frame 0; .*2\.png") as caught:
        list(open_frames(tmp_path))
    assert caught.value.frames_read == 1


def test_open_frames__nothing__is_an_error():
    """Catches 'finished' with an empty result."""
    with pytest.raises(VideoError, match="holds no frame"):
        list(open_frames([]))


def test_open_frames__second_pass__is_refused():
    """Catches a second loop that silently sees nothing."""
    source = open_frames([COLOUR])
    list(source)
    with pytest.raises(VideoError, match="already read once"):
        iter(source)


def test_open_frames__pattern__selects_in_natural_order(tmp_path):
    """Catches alphabetical order and other files in patterns; a folder whose name looks like a pattern still opens."""
    odd = tmp_path / "take[1]"
    odd.mkdir()
    for name in ("f10.png", "f2.png", "g1.png"):
        save(odd / name)
    (odd / "f3.txt").write_text("x")
    assert [frame.name for frame in open_frames(odd)] == ["f2.png", "f10.png", "g1.png"]
    pattern = str(tmp_path / "take*" / "f*")
    assert [frame.name for frame in open_frames(pattern)] == ["f2.png", "f10.png"]
    with pytest.raises(VideoError, match="matches no picture"):
        open_frames(str(tmp_path / "h*.png"))


def test_open_frames__folder_rate__sets_times(tmp_path):
    """Catches rounding of 30000/1001 and a rate that is ignored."""
    for index in range(3):
        save(tmp_path / f"{index}.png")
    source = open_frames(tmp_path, rate=29.97003)
    assert source.rate == Fraction(30000, 1001)
    assert [frame.time_s for frame in source] == pytest.approx([0, 1001 / 30000, 2002 / 30000], abs=1e-12)


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), 1e9, "fast"])
def test_open_frames__nonsense_rate__is_refused(rate, tmp_path):
    """Catches division by zero later on."""
    save(tmp_path / "1.png")
    with pytest.raises(VideoError, match="rate"):
        open_frames(tmp_path, rate=rate)


@pytest.mark.parametrize("camera", [97, "webcam:97", "camera:97", -1])
def test_open_frames__no_such_camera__one_line(camera):
    """Catches a hang or a foreign error without a camera."""
    with pytest.raises(VideoError, match=r"webcam -?\d+: "):
        open_frames(camera)


@pytest.mark.parametrize("source", [True, None, b"a.mp4", 1.5, {"a": 1}])
def test_open_frames__wrong_type__says_what_is_expected(source):
    """Catches True taken for camera 1 and bytes taken for pictures."""
    with pytest.raises(VideoError, match="Expected a path"):
        open_frames(source)


def test_open_frames__address__is_refused():
    """Catches the network being reached from a file name."""
    with pytest.raises(VideoError, match="address"):
        open_frames("https://example.org/video.mp4")


@pytest.mark.parametrize("text", ["ffconcat version 1.0\nfile other.mp4\n", "#EXTM3U\n#EXTINF:1\nhttps://example.org/a.ts\n"])
def test_open_frames__playlist_named_mp4__opens_no_other_file(tmp_path, case, text):
    """Catches a file from a stranger that makes FFmpeg read other files or addresses."""
    (tmp_path / "other.mp4").write_bytes(case("vid-ok").path.read_bytes())
    (tmp_path / "list.mp4").write_text(text)
    with pytest.raises(VideoError, match=r"list\.mp4"):
        list(open_frames(tmp_path / "list.mp4"))


def test_open_frames__text_file__is_not_drawn_as_a_video(tmp_path):
    """Catches FFmpeg's habit of rendering .txt files as pictures."""
    (tmp_path / "notes.txt").write_text("hello\n" * 50)
    with pytest.raises(VideoError, match=r"notes\.txt"):
        list(open_frames(tmp_path / "notes.txt"))


def test_open_frames__name_that_looks_like_a_protocol__is_a_file(tmp_path, case, monkeypatch):
    """Catches 'concat:x.mp4' or '-i.mp4' in the working folder being taken for something else."""
    monkeypatch.chdir(tmp_path)
    for name in ("concat:x.mp4", "-i.mp4", "ein bißchen 日本.mp4"):
        (tmp_path / name).write_bytes(case("vid-ok").path.read_bytes())
        assert len(list(open_frames(name))) == 10


def test_list_pictures__missing_folder__names_it(tmp_path):
    """Catches FileNotFoundError leaking out."""
    with pytest.raises(VideoError, match="nowhere"):
        list_pictures(tmp_path / "nowhere")


def test_import__dense_video__loads_neither_pyav_nor_torch():
    """Catches heavy imports at the top, which would slow down every command line."""
    code = "import sys, dense.video; sys.exit(bool({'av', 'torch', 'PIL', 'detectron2'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], env={**os.environ}, timeout=60, check=False).returncode == 0
