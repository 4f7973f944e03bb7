"""Exceptions, kills and full disks in the middle of writing: what was written stays readable, the target stays whole."""

import signal
import subprocess
import sys

import numpy as np
import pytest

from dense.errors import VideoError
from dense.video import DamagedVideoError, VideoWriter, open_frames

SUFFIXES = [".mp4", ".mov", ".mkv", ".webm", ".avi"]
SCRIPT = """
import os, signal, sys
import numpy as np
from dense.errors import VideoError
from dense.video import VideoWriter
path, mode = sys.argv[1:]
noise = np.random.default_rng(0).integers(0, 255, (60, 96, 128, 3), np.uint8)
if mode == "full":
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))
try:
    with VideoWriter(path, rate=25) as writer:
        for index in range(60):
            writer.write(noise[index])
            if mode == "kill" and index == 50:
                os.kill(os.getpid(), signal.SIGKILL)
except VideoError as error:
    sys.exit(f"VideoError: {error}")
"""


def run(path, mode):
    command = [sys.executable, "-c", SCRIPT, str(path), mode]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def readable(path):
    count = 0
    try:
        for frame in open_frames(path):
            count = frame.index + 1
    except DamagedVideoError as error:
        return error.frames_read
    return count


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_video_writer__exception_inside__keeps_all_frames_in_the_partial_file(tmp_path, suffix):
    """Catches hours of frames lost, a target that looks finished, and an older target destroyed."""
    target = tmp_path / f"out{suffix}"
    target.write_bytes(b"older result")

    def fail_after_seven(writer):
        with writer:
            for index in range(7):
                writer.write(np.full((48, 64, 3), 30 * index, np.uint8))
            raise RuntimeError("boom")

    writer = VideoWriter(target)
    with pytest.raises(RuntimeError, match="boom"):
        fail_after_seven(writer)
    assert target.read_bytes() == b"older result"
    assert names_in(tmp_path) == sorted([target.name, f"out.partial{suffix}"])
    assert readable(writer.partial_path) == 7


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_video_writer__killed__partial_file_plays_but_for_the_last_frames(tmp_path, suffix):
    """Catches containers whose index is written only at the end."""
    result = run(tmp_path / f"out{suffix}", "kill")
    assert result.returncode == -signal.SIGKILL, result.stderr
    assert names_in(tmp_path) == [f"out.partial{suffix}"]
    assert readable(tmp_path / f"out.partial{suffix}") >= 51 - 20


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_video_writer__disk_full__one_line_and_the_frames_so_far(tmp_path, suffix):
    """Catches a foreign traceback, a crash inside FFmpeg and a file without a single readable frame."""
    result = run(tmp_path / f"out{suffix}", "full")
    assert result.returncode == 1, (result.returncode, result.stderr)
    assert result.stderr.strip().splitlines()[-1].startswith("VideoError: ")
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert names_in(tmp_path) == [f"out.partial{suffix}"]
    assert readable(tmp_path / f"out.partial{suffix}") >= 3


def test_video_writer__no_frame__leaves_no_file(tmp_path):
    """Catches the empty file that looks like a result."""
    with pytest.raises(VideoError, match="no frame was written"), VideoWriter(tmp_path / "x.mp4"):
        pass
    with pytest.raises(RuntimeError), VideoWriter(tmp_path / "x.mp4"):
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_video_writer__after_close__refuses_frames(tmp_path):
    """Catches frames that vanish after the block."""
    with VideoWriter(tmp_path / "x.mp4") as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8))
    with pytest.raises(VideoError, match="closed already"):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    assert writer.close() == tmp_path / "x.mp4"
