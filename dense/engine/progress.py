"""What a run tells: a console line with the time left, one JSON line, TensorBoard scalars."""

import json
import logging
import os
import time
from collections import deque
from pathlib import Path
from typing import Any, Protocol

from dense.errors import DependencyError
from dense.io import to_plain

__all__ = ["ConsoleWriter", "JSONWriter", "TensorBoardWriter", "Writer"]

logger = logging.getLogger(__name__)


class Writer(Protocol):
    """Takes the figures of a step."""

    def write(self, step: int, figures: dict[str, float]) -> None:
        """Record figures after ``step`` steps."""

    def close(self) -> None:
        """Flush what is left."""


class ConsoleWriter:
    """One log line: step, losses, rate, time per step, time left."""

    def __init__(self, last_step: int, span: int = 20) -> None:
        self.last_step = last_step
        self._times: deque[tuple[int, float]] = deque(maxlen=span)

    def write(self, step: int, figures: dict[str, float]) -> None:
        """Log one line; auxiliary losses are left to the files."""
        self._times.append((step, time.monotonic()))
        shown = {
            k: v for k, v in figures.items() if not k.rsplit("_", 1)[-1].isdigit() and k not in {"lr", "time", "data_time"}
        }
        losses = "  ".join(f"{k} {v:.4g}" for k, v in shown.items())
        rate, pace = figures.get("lr", 0.0), self._pace(step, figures)
        logger.info("step %d/%d  %s  lr %.3g  %.3f s/step  %s", step, self.last_step, losses, rate, *pace)

    def _pace(self, step: int, figures: dict[str, float]) -> tuple[float, str]:
        (first, started), (last, now) = self._times[0], self._times[-1]
        per_step = (now - started) / (last - first) if last > first else figures.get("time", 0.0)
        return per_step, f"{_duration(per_step * (self.last_step - step))} left"

    def close(self) -> None:
        """Nothing is held back."""


class JSONWriter:
    """Appends one JSON object per line to ``metrics.json`` (the name Detectron2's tools read)."""

    def __init__(self, path: str | Path) -> None:
        _cut_half_line(Path(path))
        self._file = Path(path).open("a", encoding="utf-8")  # noqa: SIM115  open as long as the run

    def write(self, step: int, figures: dict[str, Any]) -> None:
        """Append one line and flush it; a figure that is not finite becomes ``null``."""
        line = to_plain({"iteration": step, **figures})
        self._file.write(json.dumps(line, allow_nan=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _cut_half_line(path: Path) -> None:
    """Take off what a killed run left of its last line."""
    if path.is_file():
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(path, whole)


class TensorBoardWriter:
    """Scalars for TensorBoard, in ``folder``. Raises: DependencyError without the package."""

    def __init__(self, folder: str | Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise DependencyError(f"TensorBoard is missing ({error}): pip install tensorboard") from error

        self._writer: Any = SummaryWriter(str(folder))

    def write(self, step: int, figures: dict[str, float]) -> None:
        """Add every figure as a scalar."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close."""
        self._writer.close()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
