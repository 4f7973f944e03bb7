"""Loading the compiled operators: once, only if they fit this torch; else the reason is kept and said once."""

import json
import os
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

__all__ = ["OperatorStatus", "has_kernel", "load", "status", "warn_once"]

_MEND = "Run `python -m dense build-ops` (or `make`) to build it; until then plain PyTorch is used, more slowly."


@dataclass(frozen=True)
class OperatorStatus:
    """Whether the compiled operators are in use.

    Attributes:
        loaded: the binary was loaded.
        reason: where it was loaded from, or why it was not.
        torch_built_for: version of torch it was compiled with; empty if unknown.
    """

    loaded: bool
    reason: str
    torch_built_for: str


@cache
def status() -> OperatorStatus:
    """Load the operators if that has not been tried yet; the answer holds for the life of the process."""
    if os.environ.get("DENSE_NO_EXTENSION", "0") not in ("", "0"):
        return OperatorStatus(False, "the environment variable DENSE_NO_EXTENSION is set", "")
    return load(Path(__file__).resolve().parent, str(torch.__version__))


def load(folder: Path, torch_version: str) -> OperatorStatus:
    """Load the binary ``_C*.so`` of a folder into this process, after reading its record ``_C.json``.

    Args:
        folder: where binary and record lie.
        torch_version: the running torch.

    Returns: the status; nothing is raised, since there is a fallback.
    """
    binaries = sorted(folder.glob("_C*.so"))
    if not binaries:
        return OperatorStatus(False, "the operators have not been compiled", "")
    try:
        record = json.loads((folder / "_C.json").read_text(encoding="utf-8"))
        built_for, stable_abi = str(record["torch"]), record.get("stable_abi")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return OperatorStatus(False, f"{binaries[0].name} has no readable record _C.json ({type(error).__name__})", "")
    if not _fits(built_for, stable_abi, torch_version):
        wanted = f"torch {stable_abi} or newer" if stable_abi else f"exactly torch {built_for}"
        return OperatorStatus(False, f"{binaries[0].name} needs {wanted}, this is torch {torch_version}", built_for)
    try:
        torch.ops.load_library(str(binaries[0]))
    except (OSError, RuntimeError) as error:  # another processor, a missing symbol, a torn file
        return OperatorStatus(False, f"{binaries[0].name} could not be loaded ({str(error).splitlines()[0]})", built_for)
    return OperatorStatus(True, f"loaded {binaries[0].name}", built_for)


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
def has_kernel(name: str, device_type: str) -> bool:
    """Whether the loaded binary has a kernel of operator ``name`` for a device type such as ``"cpu"``."""
    keys = {"cpu": "CPU", "cuda": "CUDA"}
    if not status().loaded or device_type not in keys:
        return False
    return torch._C._dispatch_has_kernel_for_dispatch_key(f"dense::{name}", keys[device_type])


@cache
def warn_once() -> None:
    """Say why plain PyTorch is used, once per process; not if the user asked for it."""
    if not status().loaded and "DENSE_NO_EXTENSION" not in status().reason:
        warnings.warn(f"dense.ops: {status().reason}. {_MEND}", RuntimeWarning, stacklevel=3)
