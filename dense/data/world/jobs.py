"""Rendering in several processes; results come in the order of the jobs."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from dense.errors import DataError

__all__ = ["Progress", "run_jobs"]

Progress = Callable[[int, int], None]
"""Called as ``progress(done, in all)``."""

Job = TypeVar("Job")
Result = TypeVar("Result")


def run_jobs(
    render: Callable[[Job], Result], jobs: Sequence[Job], workers: int, progress: Progress | None = None
) -> Iterator[Result]:
    """Results in the order of the jobs, whichever process finishes first.

    Args:
        render: a function of a module (other processes import it).
        jobs: its arguments.
        workers: processes; 1 = this one.
        progress: called after each job.

    Raises: DataError if a process dies.
    """
    for done, result in enumerate(_results(render, jobs, min(workers, len(jobs))), start=1):
        yield result
        if progress is not None:
            progress(done, len(jobs))


def _results(render: Callable[[Job], Result], jobs: Sequence[Job], workers: int) -> Iterator[Result]:
    if workers <= 1:
        yield from map(render, jobs)
        return
    # spawn, not fork: the caller may hold torch's or OpenCV's threads, which do not survive a fork
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_one_thread)
    try:
        yield from pool.map(render, jobs)
    except BrokenProcessPool as error:
        raise DataError(
            'world: a rendering process died. Put the call under `if __name__ == "__main__":`, or use workers=1.'
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _one_thread() -> None:
    import cv2

    cv2.setNumThreads(1)
