"""Workers started, fed and watched: a crash, a hang or a wrong answer becomes a failure with its seed."""

import json
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

__all__ = ["Failure", "Tally", "Worker", "run_readers"]

SECONDS_PER_INPUT = 20.0
_START = 180.0  # seconds: imports of torch and Detectron2, samples


@dataclass(frozen=True)
class Failure:
    """An input that broke the rule; ``path`` holds it."""

    reader: str
    seed: int
    path: str
    detail: str

    def __str__(self) -> str:
        return f"{self.reader}: seed {self.seed}, input kept as {self.path}\n{self.detail}"


@dataclass
class Tally:
    """The row of one reader."""

    reader: str
    accepted: int = 0
    refused: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    failures: list[Failure] = field(default_factory=list)

    @property
    def inputs(self) -> int:
        """How many inputs were read."""
        return self.accepted + self.refused + len(self.failures)


class Worker:
    """A process that reads inputs; started again after it died."""

    def __init__(self, keep: Path, limit_s: float = SECONDS_PER_INPUT) -> None:
        self.keep, self.limit_s = keep, limit_s
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str] = queue.Queue()
        self._errors: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115  as long as the worker
        self._known: set[str] = set()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop()
        self._errors.close()

    def ask(self, reader: str, seed: int) -> dict[str, Any]:
        """What became of one input: ``kind``, ``detail``, ``seconds``."""
        if reader not in self._known:
            ready = self._request(reader, None, _START)
            if ready["kind"] != "ready":  # a fault of the fuzzer, or a reader that refuses everything
                raise RuntimeError(f"{reader}: {ready['detail']}")
            self._known.add(reader)
        return self._request(reader, seed, self.limit_s)

    def _request(self, reader: str, seed: int | None, limit_s: float) -> dict[str, Any]:
        process = self._process or self._start()
        try:
            process.stdin.write(json.dumps({"reader": reader, "seed": seed, "keep": str(self.keep)}) + "\n")
            process.stdin.flush()
            answer = self._lines.get(timeout=limit_s)
            if answer:
                return json.loads(answer)
            reason = f"the process died (exit status {process.wait()})"
        except BrokenPipeError:
            reason = f"the process died (exit status {process.wait()})"
        except queue.Empty:
            reason = f"took more than {limit_s:.1f} s"
        self._stop()
        self._errors.seek(0)
        return {"kind": "failed", "detail": f"{reason}\n{self._errors.read()[-3000:]}", "seconds": limit_s}

    def _start(self) -> subprocess.Popen[str]:
        self._errors.seek(0)
        self._errors.truncate()
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent), "--worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._lines = queue.Queue()
        threading.Thread(target=_forward, args=(self._process.stdout, self._lines), daemon=True).start()
        return self._process

    def _stop(self) -> None:
        self._known.clear()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                stream.close()
            self._process = None


def _forward(stream: IO[str], lines: "queue.Queue[str]") -> None:
    try:
        for line in stream:
            lines.put(line)
    except ValueError:  # closed while waiting
        pass
    lines.put("")  # it ended


def run_readers(
    names: Sequence[str], seeds: Sequence[int], keep: Path, jobs: int = 1, limit_s: float = SECONDS_PER_INPUT
) -> list[Tally]:
    """Feed every reader the inputs of all seeds, ``jobs`` readers at a time."""
    keep.mkdir(parents=True, exist_ok=True)
    waiting: queue.Queue[str] = queue.Queue()
    tallies = {name: Tally(name) for name in names}
    for name in names:
        waiting.put(name)

    def work() -> None:
        with Worker(keep, limit_s) as worker:
            while True:
                try:
                    name = waiting.get_nowait()
                except queue.Empty:
                    return
                _fill(tallies[name], worker, seeds)

    with ThreadPoolExecutor(jobs) as pool:
        for future in [pool.submit(work) for _ in range(jobs)]:
            future.result()
    return list(tallies.values())


def _fill(tally: Tally, worker: Worker, seeds: Sequence[int]) -> None:
    start = time.perf_counter()
    for seed in seeds:
        answer = worker.ask(tally.reader, seed)
        tally.slowest = max(tally.slowest, answer["seconds"])
        if answer["kind"] == "failed":
            path = next(worker.keep.glob(f"{tally.reader}-{seed}.*"), "none")
            tally.failures.append(Failure(tally.reader, seed, str(path), answer["detail"]))
        elif answer["kind"] == "accepted":
            tally.accepted += 1
        else:
            tally.refused += 1
    tally.seconds = time.perf_counter() - start
