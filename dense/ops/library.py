"""Loading the compiled operators: once, only if they fit this torch; else the reason is kept and said once."""

import json
import os
import warnings
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from dense.ops import cuda

__all__ = ["OperatorStatus", "cuda_binary", "has_kernel", "load", "load_cuda", "status", "warn_once"]

_FOLDER = Path(__file__).resolve().parent
_MEND = "Run `python -m dense build-ops` (or `make`) to build it; until then plain PyTorch is used, more slowly."
_MEND_CUDA = (
    "Run `DENSE_CUDA=1 python -m dense build-ops` to build it (needs nvcc); until then plain PyTorch is used, more slowly."
)


@dataclass(frozen=True)
class OperatorStatus:
    """Whether the compiled operators are in use.

    Attributes:
        loaded: the binary was loaded.
        reason: where it was loaded from, or why it was not.
        torch_built_for: version of torch it was compiled with; empty if unknown.
        cuda: the CUDA kernels: what they were compiled for and whether they have ever run, or why there are none.
    """

    loaded: bool
    reason: str
    torch_built_for: str
    cuda: str = "not compiled"


@cache
def status() -> OperatorStatus:
    """Load the operators if that has not been tried yet; the answer holds for the life of the process."""
    if os.environ.get("DENSE_NO_EXTENSION", "0") not in ("", "0"):
        return OperatorStatus(False, "the environment variable DENSE_NO_EXTENSION is set", "")
    found = load(_FOLDER, str(torch.__version__))
    return replace(found, cuda=cuda_binary().text) if found.loaded else found


@cache
def cuda_binary() -> cuda.CudaBinary:
    """Load the CUDA kernels if that has not been tried yet; only after the other binary, which has their schema."""
    return load_cuda(_FOLDER, str(torch.__version__), torch.version.cuda)


def load(folder: Path, torch_version: str) -> OperatorStatus:
    """Load the binary ``_C.*so`` of a folder into this process, after reading its record ``_C.json``.

    Args:
        folder: where binary and record lie.
        torch_version: the running torch.

    Returns: the status; nothing is raised, since there is a fallback.
    """
    binary = _find(folder, "_C")
    if binary is None:
        return OperatorStatus(False, "the operators have not been compiled", "")
    record = _record(binary)
    if isinstance(record, str):
        return OperatorStatus(False, record, "")
    error = _open(binary, record, torch_version)
    return OperatorStatus(not error, error or f"loaded {binary.name}", str(record["torch"]))


def load_cuda(folder: Path, torch_version: str, cuda_version: str | None) -> cuda.CudaBinary:
    """Load the CUDA kernels ``_C_cuda.*so`` of a folder likewise, if the running torch has the CUDA that they need.

    Args:
        folder: where binary and record lie.
        torch_version: the running torch.
        cuda_version: the CUDA it was built for; None if without.
    """
    binary = _find(folder, "_C_cuda")
    if binary is None:
        return cuda.CudaBinary(False, "not compiled")
    record = _record(binary)
    error = record if isinstance(record, str) else cuda.refusal(record, cuda_version) or _open(binary, record, torch_version)
    return cuda.CudaBinary(False, f"not loaded: {error}") if error or isinstance(record, str) else cuda.describe(record)


def _find(folder: Path, stem: str) -> Path | None:
    return next(iter(sorted(folder.glob(f"{stem}.*so"))), None)


def _record(binary: Path) -> dict[str, Any] | str:
    """Read what is recorded of a binary, or say why that is not possible."""
    name = f"{binary.name.partition('.')[0]}.json"
    try:
        record = json.loads(binary.with_name(name).read_text(encoding="utf-8"))
        return {**record, "torch": str(record["torch"])}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{binary.name} has no readable record {name} ({type(error).__name__})"


def _open(binary: Path, record: dict[str, Any], torch_version: str) -> str:
    """Load a binary that fits; returns why not, or nothing."""
    built_for, stable_abi = record["torch"], record.get("stable_abi")
    if not _fits(built_for, stable_abi, torch_version):
        wanted = f"torch {stable_abi} or newer" if stable_abi else f"exactly torch {built_for}"
        return f"{binary.name} needs {wanted}, this is torch {torch_version}"
    try:
        torch.ops.load_library(str(binary))
    except (OSError, RuntimeError) as error:  # another processor, a missing symbol, a torn file
        return f"{binary.name} could not be loaded ({str(error).splitlines()[0]})"
    return ""


def _fits(built_for: str, stable_abi: str | None, running: str) -> bool:
    """Same version; or, written for the stable ABI, the same major version from a minor one on."""
    if built_for == running:
        return True
    if not isinstance(stable_abi, str):
        return False
    try:
        (major, minor), (oldest_major, oldest_minor) = _version(running), _version(stable_abi)
    except ValueError:
        return False
    return major == oldest_major and minor >= oldest_minor


def _version(text: str) -> tuple[int, int]:
    major, minor = text.split(".")[:2]
    return int(major), int(minor)


@cache
def has_kernel(name: str, device: str | torch.device) -> bool:
    """Whether the loaded binaries have a kernel of operator ``name`` for a device, with code for that very GPU."""
    device, keys = torch.device(device), {"cpu": "CPU", "cuda": "CUDA"}
    if not status().loaded or device.type not in keys:
        return False
    if not torch._C._dispatch_has_kernel_for_dispatch_key(f"dense::{name}", keys[device.type]):
        return False
    return device.type != "cuda" or cuda.covers(cuda_binary().architectures, torch.cuda.get_device_capability(device))


@cache
def warn_once(device_type: str = "cpu") -> None:
    """Say why plain PyTorch is used on a kind of device, once per process; not if the user asked for it."""
    text = ""
    if not status().loaded:
        text = "" if "DENSE_NO_EXTENSION" in status().reason else f"{status().reason}. {_MEND}"
    elif device_type == "cuda" and cuda_binary().loaded:
        name, capability = torch.cuda.get_device_name(), ".".join(map(str, torch.cuda.get_device_capability()))
        text = f"the CUDA kernels have no code for {name} ({capability}): {status().cuda}. {_MEND_CUDA}"
    elif device_type == "cuda" and "DENSE_CUDA" not in status().cuda:
        text = f"CUDA kernels: {status().cuda}. {_MEND_CUDA}"
    if text:
        warnings.warn(f"dense.ops: {text}", RuntimeWarning, stacklevel=3)
