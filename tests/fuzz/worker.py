"""The process that reads: one request a line on its input, one answer a line on its output, memory limited."""

import contextlib
import faulthandler
import json
import logging
import os
import resource
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from .reader import Outcome, Reader, judge

__all__ = ["EXTRA_MEMORY", "serve"]

EXTRA_MEMORY = 2 << 30  # bytes of address space beyond what the imports take
_EXTRA_RESIDENT = 1 << 20  # kilobytes really used beyond that


def serve() -> None:
    """Answer requests ``{"reader", "seed", "keep"}`` until the input ends; a seed of null only prepares the reader."""
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not pass for an answer
    faulthandler.enable()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    from .readers import READERS

    with tempfile.TemporaryDirectory() as folder:
        for line in sys.stdin:
            request = json.loads(line)
            place = Path(folder) / request["reader"]
            answer = _answer(READERS[request["reader"]], request["seed"], place, Path(request["keep"]))
            channel.write(json.dumps(answer) + "\n")
            channel.flush()


def _answer(reader: Reader, seed: int | None, place: Path, keep: Path) -> dict[str, Any]:
    if seed is None:
        wrong = _warm_up(reader, place)
        return {"kind": "invalid" if wrong else "ready", "detail": wrong, "seconds": 0.0}
    sample = reader.input(seed)
    path = place / f"input{sample.suffix}"
    path.write_bytes(sample.content)
    kept = keep / f"{reader.name}-{seed}{sample.suffix}"
    kept.write_bytes(sample.content)  # before it is read: the reader may take the process with it
    before, start = _peak(), time.perf_counter()
    outcome = judge(reader, path)
    seconds, grown = time.perf_counter() - start, _peak() - before
    if grown > _EXTRA_RESIDENT:
        outcome = Outcome("failed", f"used {grown >> 10} MiB of memory; {outcome.kind} {outcome.detail}")
    if outcome.kind != "failed":
        kept.unlink()
    return {"kind": outcome.kind, "detail": outcome.detail, "seconds": seconds, "peak": grown}


def _warm_up(reader: Reader, place: Path) -> str:
    """Make the samples, import what reading needs, make sure that they are accepted undamaged, then set the limit.

    Returns: what is wrong with a sample, or nothing.
    """
    with contextlib.suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    place.mkdir()
    samples = list(reader.prepare(place))
    for sample in samples:
        path = place / f"input{sample.suffix}"
        path.write_bytes(sample.content)
        outcome = judge(reader, path)
        if outcome.kind != "accepted":
            return f"a valid {sample.suffix} is {outcome.kind}: {outcome.detail}"
    reader.samples = samples
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + EXTRA_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    return ""


def _peak() -> int:
    """Largest resident size so far, in kilobytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
