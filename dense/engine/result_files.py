"""A test set's results on disk: whole or not at all; then say where they are, and score them where annotations are public."""

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from dense.data.formats.youtube_vis import AnnotationsMissingError
from dense.engine.launch import Process
from dense.errors import DataError

__all__ = ["ResultFolder", "score_shared", "score_written"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ResultFolder:
    """Files that several processes write one by one and that make sense together only.

    They are collected below ``folder/unfinished``, so an evaluation that is killed leaves those of the last one as they were.

    Attributes:
        folder: where they go in the end.
        process: this process; all must take every step.
    """

    folder: Path
    process: Process

    @property
    def unfinished(self) -> Path:
        """Where to write."""
        return self.folder / "unfinished"

    @classmethod
    def started(cls, folder: Path, process: Process) -> "ResultFolder":
        """Remove what an evaluation left that was killed. Raises: DataError if the folder cannot be made."""
        results = cls(folder, process)
        if process.is_main:
            shutil.rmtree(results.unfinished, ignore_errors=True)
            try:
                results.unfinished.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise DataError(f"{results.unfinished}: cannot be made ({error.strerror}). Is OUTPUT_DIR writable?") from error
        process.barrier()
        return results

    def finish(self, names: Sequence[str]) -> None:
        """Once all processes have written: put files and folders of these names where they belong, the last one last."""
        self.process.barrier()
        if self.process.is_main:
            for name in reversed(names):
                if (self.folder / name).exists():
                    (self.folder / name).rename(self.unfinished / f"old {name}")
            for name in names:
                (self.unfinished / name).rename(self.folder / name)
            shutil.rmtree(self.unfinished)
        self.process.barrier()


def score_written(name: str, path: Path, evaluate: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Score the results of data set ``name`` that lie at ``path``.

    Returns: the figures of ``evaluate``; none where the data set comes without annotations.
    """
    logger.info("%s: wrote %s", name, path)
    try:
        return evaluate()
    except AnnotationsMissingError as error:
        logger.info("%s: evaluation skipped: %s", name, error)
        return {}


class Counter(Protocol):
    """Counts that add up over processes."""

    def merge(self, other: Any) -> None:  # noqa: ANN401  one of its own kind
        """Add what ``other`` has counted."""
        ...

    def figures(self) -> dict[str, Any]:
        """The figures of all that is counted."""
        ...


def score_shared(name: str, path: Path, process: Process, count: Callable[[], Counter]) -> dict[str, Any]:
    """As ``score_written``, each process counting its own videos: one alone would let the others wait for too long.

    Returns: the figures; none on other than the main process, or without annotations.
    """

    def evaluate() -> dict[str, Any]:
        first, *others = process.gather([count()])
        if not process.is_main:
            return {}
        for other in others:
            first.merge(other)
        return first.figures()

    return score_written(name, path, evaluate)
