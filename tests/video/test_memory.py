"""Reading takes constant memory, however long the video."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dense.video import VideoWriter

SCRIPT = """
import os, sys
from dense.video import open_frames
def resident():
    with open("/proc/self/statm") as stream:
        return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
with open_frames(sys.argv[1]) as source:
    for frame in source:
        if frame.index == 99:
            early = resident()
assert source.frames_read == 600
print(early, resident())
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_open_frames__600_frames__takes_no_more_memory_than_100(tmp_path):
    """Catches frames or packets that pile up: 500 frames kept would be 115 MB."""
    with VideoWriter(tmp_path / "long.mp4", rate=25) as writer:
        for index in range(600):
            writer.write(np.full((240, 320, 3), index % 256, np.uint8))
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "long.mp4")]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, env={**os.environ})
    early, late = (int(text) for text in result.stdout.split())
    assert late <= 1.05 * early
