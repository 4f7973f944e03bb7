"""Progress of a stream with frames per second: a bar on a terminal, now and then a line elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["frame_progress"]

_QUIET = 10.0  # seconds between lines where there is no terminal


@contextmanager
def frame_progress(label: str, total: int | None, unit: str = "frames") -> Iterator[Callable[[], None]]:
    """Give a function to call after every frame (or other ``unit``); ``total`` are expected (``None`` = unknown)."""
    if sys.stderr.isatty():
        with _bar(label, total, unit) as advance:
            yield advance
        return
    started = last = time.monotonic()
    count = 0

    def advance_quietly() -> None:
        nonlocal count, last
        count += 1
        now = time.monotonic()
        if now - last >= _QUIET:
            last = now
            sys.stderr.write(_line(label, unit, count, total, now - started))

    yield advance_quietly
    sys.stderr.write(_line(label, unit, count, count, time.monotonic() - started))


def _line(label: str, unit: str, count: int, total: int | None, seconds: float) -> str:
    of = "" if total is None else f" of {total}"
    return f"{label}: {count}{of} {unit}, {count / max(seconds, 1e-9):.1f} {unit}/s\n"


@contextmanager
def _bar(label: str, total: int | None, unit: str) -> Iterator[Callable[[], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),  # a file name may hold brackets
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[pace]}"),
        TimeRemainingColumn(),
    )
    started = time.monotonic()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(label, total=total, pace="")
        count = 0

        def advance() -> None:
            nonlocal count
            count += 1
            progress.update(task, advance=1, pace=f"{count / max(time.monotonic() - started, 1e-9):.1f} {unit}/s")

        yield advance
