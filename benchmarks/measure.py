"""Measuring: best time of a few runs, peak extra memory, and the machine's own limits in the same run."""

import ctypes
import datetime
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

__all__ = ["Machine", "best_seconds", "header", "peak_extra_bytes"]

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def best_seconds(task: Callable[[], object], budget: float = 2.0) -> float:
    """Shortest time of 3 to 50 runs after one to warm up, about ``budget`` seconds in all: others only slow a run down."""
    task()
    times: list[float] = []
    while len(times) < 3 or (sum(times) < budget and len(times) < 50):
        start = time.perf_counter()
        task()
        times.append(time.perf_counter() - start)
    return min(times)


def peak_extra_bytes(task: Callable[[], object], device: str = "cpu") -> float:
    """Highest resident memory (on a GPU: allocated by torch) during one run, less that before; not a number but on Linux."""
    if device != "cpu":
        task()
        torch.cuda.reset_peak_memory_stats()
        allocated = torch.cuda.memory_allocated()
        task()
        return float(torch.cuda.max_memory_allocated() - allocated)
    if not _RESET.exists():
        return float("nan")
    task()  # one-time allocations of libraries are not the task's
    ctypes.CDLL(None).malloc_trim(0)  # or freed memory that the process has kept would hide the next allocation
    _RESET.write_text("5", encoding="ascii")
    before = _status_bytes("VmRSS")
    result = task()
    del result
    return _status_bytes("VmHWM") - before


def _status_bytes(field: str) -> int:
    line = next(line for line in _STATUS.read_text(encoding="ascii").splitlines() if line.startswith(field + ":"))
    return int(line.split()[1]) * 1024


@dataclass(frozen=True)
class Machine:
    """What a device can do at most, a CPU with the threads torch has now: bytes and floating-point operations per second."""

    bandwidth: float
    flops: float

    @classmethod
    def measured(cls, device: str = "cpu") -> "Machine":
        """Copy an array much larger than the caches; multiply two matrices that fit into them (nearly all multiply-adds)."""
        wait = torch.cuda.synchronize if device != "cpu" else lambda: None
        source, target = torch.ones(64 * 2**20, device=device), torch.empty(64 * 2**20, device=device)
        size = 1024 if device == "cpu" else 8192
        matrix = torch.ones(size, size, device=device)
        copy = best_seconds(lambda: (target.copy_(source), wait()), budget=1.0)
        product = best_seconds(lambda: (matrix @ matrix, wait()), budget=1.0)
        return cls(bandwidth=2 * source.nbytes / copy, flops=2 * size**3 / product)

    def floor_seconds(self, size: int, flops: int) -> float:
        """No program can be faster than this, up to what fits into the caches beforehand."""
        return max(size / self.bandwidth, flops / self.flops)


def header(machines: Mapping[str, Machine]) -> list[str]:
    """Lines to stand above every table: machine, versions, threads, date; then each device that was used."""
    names = [line.split(":")[1].strip() for line in _cpu_lines() if line.startswith("model name")]
    now = datetime.datetime.now(datetime.timezone.utc)
    top = [
        f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
        f"Python {sys.version.split()[0]}, torch {torch.__version__}, {now:%Y-%m-%d %H:%M} UTC",
    ]
    for device, machine in machines.items():
        name = "measured" if device == "cpu" else f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
        top.append(f"{name}: copy {machine.bandwidth / 1e9:.1f} GB/s, multiply-add {machine.flops / 1e9:.0f} GFLOP/s (float32)")
    return top


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []
