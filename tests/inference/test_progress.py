"""Progress: lines where there is no terminal, a bar where there is one."""

import io
import sys

from dense.inference import progress
from dense.inference.progress import frame_progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_frame_progress__no_terminal__tells_the_pace_now_and_then(capsys, monkeypatch):
    """Catches a log with one line per frame, and one that stays silent for hours."""
    clock = iter(range(0, 1000, 4))  # four seconds a frame
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    with frame_progress("clip.mp4", 9) as advance:
        for _ in range(9):
            advance()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("clip.mp4: 3 of 9 frames, 0.2 frames/s")
    assert lines[-1].startswith("clip.mp4: 9 of 9 frames")
    assert len(lines) == 4


def test_frame_progress__unknown_total__counts_what_came(capsys):
    """Catches a division by an unknown total."""
    with frame_progress("clip.webm", None) as advance:
        advance()
    assert capsys.readouterr().err.startswith("clip.webm: 1 of 1 frames")


def test_frame_progress__brackets_in_the_name__are_shown(monkeypatch):
    """Catches a file name that is taken for markup: swallowed, or an error in the middle of a run."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    with frame_progress("a[final][/b].mp4", 2) as advance:
        advance()
        advance()
    assert "a[final][/b].mp4" in sys.stderr.getvalue()
    assert "2/2" in sys.stderr.getvalue()
