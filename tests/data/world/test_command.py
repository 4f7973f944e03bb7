"""Previews and command line of the world."""

import json

import av
import cv2
import numpy as np
import pytest

from dense.data.world import render_video
from dense.data.world.command import main
from dense.data.world.preview import contact_sheet, draw_ground_truth, write_preview
from dense.errors import VideoError

TINY = ["--train-videos", "1", "--valid-videos", "1", "--frames", "3", "--height", "48", "--width", "80", "--workers", "1"]


def test_draw_ground_truth__outline__lies_on_the_border_and_leaves_the_rest():
    """Catches outlines drawn for another frame or at another scale."""
    video = render_video(0, 0, 2, (96, 160))
    change = np.abs(draw_ground_truth(video, 1).astype(int) - video.frames[1]).max(-1) > 40
    border = np.zeros((96, 160), bool)
    for mask in video.masks[:, 1]:
        inner = cv2.erode(np.pad(mask.astype(np.uint8), 1), np.ones((3, 3)))[1:-1, 1:-1]
        border |= mask & (inner == 0)
    assert change[border].mean() > 0.7
    far = cv2.dilate(video.masks[:, 1].any(0).astype(np.uint8), np.ones((61, 61))) == 0
    assert not change[far].any()


def test_write_preview__odd_size__decodes_as_h264_of_even_size(tmp_path):
    """Catches a file that players refuse: odd size, another pixel format, missing frames."""
    write_preview(tmp_path / "p.mp4", [render_video(0, i, 3, (45, 61)) for i in range(2)], scale=1)
    with av.open(str(tmp_path / "p.mp4")) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
    assert [f.shape for f in frames] == [(44, 60, 3)] * 6
    drawn = draw_ground_truth(render_video(0, 0, 3, (45, 61)), 0)[:44, :60]
    grey = [picture.mean(-1) for picture in (frames[0], drawn)]  # yuv420p halves the resolution of colour, not of light
    assert np.abs(grey[0] - grey[1]).mean() < 8
    assert np.abs((frames[0] - drawn.astype(float)).mean((0, 1))).max() < 4
    assert [p.name for p in tmp_path.iterdir()] == ["p.mp4"]


def test_write_preview__two_sizes_or_none__video_error_and_no_file(tmp_path):
    """Catches a broken file left behind by videos that cannot share a stream."""
    videos = [render_video(0, 0, 1, (32, 48)), render_video(0, 0, 1, (32, 64))]
    for wrong in ([], videos):
        with pytest.raises(VideoError, match="expected one"):
            write_preview(tmp_path / "p.mp4", wrong)
    assert not list(tmp_path.iterdir())


def test_contact_sheet__two_videos_three_columns__grid_of_first_to_last_frame():
    """Catches a sheet that repeats one frame or leaves out the last."""
    videos = [render_video(0, i, 5, (32, 48)) for i in range(2)]
    sheet = contact_sheet(videos, columns=3)
    assert sheet.shape == (2 * 36, 3 * 52, 3)
    assert np.array_equal(sheet[36 + 2 : 36 + 34, 2 * 52 + 2 : 2 * 52 + 50], draw_ground_truth(videos[1], 4))


def test_main__tiny_world_with_preview__files_and_exit_codes(tmp_path, capsys):
    """Catches arguments that do not reach the generator, and errors that are not one line with exit code 1."""
    out = tmp_path / "w"
    assert main(["--output", str(out), *TINY, "--seed", "3", "--frame-step", "2", "--preview", "2"]) == 0
    info = json.loads((out / "train.json").read_text())["info"]
    assert (info["seed"], info["frame_step"], info["frames"], info["height"], info["width"]) == (3, 2, 3, 48, 80)
    assert cv2.imread(str(out / "preview.png")).shape == (2 * 52, 4 * 84, 3)
    assert (out / "preview.mp4").stat().st_size > 1000
    assert "1 + 1 videos of 3 frames" in capsys.readouterr().out
    assert main(["--output", str(out), *TINY]) == 1
    error = capsys.readouterr().err
    assert error.startswith("DataError: ")
    assert error.count("\n") == 1
    assert main(["--output", str(out), *TINY, "--overwrite"]) == 0
    assert not (out / "preview.png").exists()


def test_main__wrong_usage__exits_with_2(capsys):
    """Catches a missing --output that is taken for the working folder."""
    with pytest.raises(SystemExit) as stop:
        main(["--seed", "1"])
    assert stop.value.code == 2
    assert "--output" in capsys.readouterr().err


def test_main__negative_preview__one_line_and_1(tmp_path, capsys):
    """Catches a negative count used as a slice."""
    assert main(["--output", str(tmp_path / "w"), *TINY, "--preview", "-1"]) == 1
    assert "--preview is -1" in capsys.readouterr().err
