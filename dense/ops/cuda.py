"""The CUDA kernels' second binary ``_C_cuda``: whether it fits torch and the GPU, and whether it has ever run on one.

Kernels that have only been compiled are called so. ``tools/record_cuda_run.py`` on a machine with a GPU runs their tests and,
if all pass, adds a record to ``cuda_runs.json``; it counts for binaries of the same sources.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["RUNS", "CudaBinary", "covers", "describe", "read_runs", "refusal", "source_hash"]

_OPS = Path(__file__).resolve().parent
RUNS = _OPS / "cuda_runs.json"


@dataclass(frozen=True)
class CudaBinary:
    """The CUDA kernels.

    Attributes:
        loaded: the binary was loaded.
        text: what it was compiled for and where it has run, or why it is not loaded.
        architectures: compute capabilities that it has code for, such as ``("7.5", "12.0+PTX")``.
    """

    loaded: bool
    text: str
    architectures: tuple[str, ...] = ()


def describe(record: dict[str, Any]) -> CudaBinary:
    """Say what a loaded binary is, from its record ``_C_cuda.json``."""
    architectures = tuple(str(name) for name in record.get("architectures", ()))
    runs = [run for run in read_runs() if run.get("sources") == record.get("sources")]
    tried = f"run on {runs[-1].get('device')} ({runs[-1].get('date')})" if runs else "not yet run"
    return CudaBinary(True, f"compiled, {tried}; CUDA {record.get('cuda')}, for {', '.join(architectures)}", architectures)


def refusal(record: dict[str, Any], running: str | None) -> str:
    """Why a binary must not be loaded into a torch built for CUDA ``running``; empty if it may.

    It links to the CUDA runtime that torch brings, which promises to fit within a major version only.
    """
    if os.environ.get("DENSE_CUDA") == "0":
        return "the environment variable DENSE_CUDA is 0"
    if running is None:
        return "this torch is built without CUDA"
    built = str(record.get("cuda", ""))
    if built.split(".", maxsplit=1)[0] != running.split(".", maxsplit=1)[0]:
        return f"the binary needs CUDA {built or 'of an unknown version'}, this torch has CUDA {running}"
    return ""


def covers(architectures: Sequence[str], capability: tuple[int, int]) -> bool:
    """Whether code for ``architectures`` runs on a GPU: same major and no newer minor version, or PTX that is no newer."""
    for name in architectures:
        number, _, ptx = name.partition("+")
        if not number[-1:].isdigit():  # 9.0a: for that one only
            if number.rstrip("abcdefghijklmnopqrstuvwxyz") == f"{capability[0]}.{capability[1]}":
                return True
            continue
        major, minor = (int(part) for part in number.split("."))
        if (major, minor) <= capability and (ptx or major == capability[0]):
            return True
    return False


def source_hash(folder: Path = _OPS) -> str:
    """Hash of all that the CUDA binary is compiled from."""
    total = hashlib.sha256()
    for path in sorted([*folder.glob("csrc/cuda/*"), *folder.glob("csrc/*.h")]):
        total.update(path.name.encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:16]


def read_runs(path: Path = RUNS) -> list[dict[str, Any]]:
    """Recorded runs on a GPU, oldest first; empty if there is no readable record."""
    try:
        runs = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [run for run in runs if isinstance(run, dict)] if isinstance(runs, list) else []
