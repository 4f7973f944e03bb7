"""Checkpoints of a run: written whole or not at all, found again after a crash, continued to the same numbers."""

import logging
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dense.checkpoint.reading import read_checkpoint
from dense.checkpoint.writing import save_training_state
from dense.engine.launch import Process
from dense.errors import CheckpointError, shown
from dense.io import atomic_write
from dense.limits import LARGEST_INTEGER
from dense.modeling.training_protocols import RemembersTraining

__all__ = ["AveragedWeights", "Checkpoints", "ProcessMemories", "step_seed"]

logger = logging.getLogger(__name__)

_POINTER = "last_checkpoint"
_EVALUATED = "last_evaluation"
_NAME = re.compile(r"model_(\d{7})\.pth$")
_MOMENTS = {  # what a parameter that was updated has
    "AdamW": {"step", "exp_avg", "exp_avg_sq"},
    "SGD": {"momentum_buffer"},
    "LARS": {"momentum_buffer"},
}
_LEFTOVER = re.compile(rf"\.(model_\d{{7}}\.pth|model_final\.safetensors|config\.yaml|{_POINTER}|{_EVALUATED})\.\w+\.tmp$")


def step_seed(seed: int, step: int, rank: int) -> int:
    """Seed of torch's generator for one step of one process, so that a continued run draws the same points."""
    return (max(seed, 0) * 1_000_003 + step * 8191 + rank) % (2**63)


class Checkpoints:
    """``model_NNNNNNN.pth`` files in a folder and the pointer to the last one."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Write the state after ``step`` steps, then move the pointer."""
        path = self.folder / f"model_{step:07d}.pth"
        save_training_state(path, {**state, "step": step})
        with atomic_write(self.folder / _POINTER) as stream:
            stream.write(path.name)
        return path

    def mark_evaluated(self, step: int) -> None:
        """Record that the figures of the test sets after ``step`` steps are written."""
        with atomic_write(self.folder / _EVALUATED) as stream:
            stream.write(str(step))

    def is_evaluated(self, step: int) -> bool:
        """Whether the last evaluation of the run was that after ``step`` steps."""
        marker = self.folder / _EVALUATED
        return marker.is_file() and marker.read_bytes().strip() == str(step).encode()

    def remove_leftovers(self) -> None:
        """Delete the temporary files of a killed run: never taken for checkpoints, but as large. Nobody else may be writing."""
        ours = [path for path in self.folder.glob(".*.tmp") if _LEFTOVER.match(path.name)]
        for path in (*ours, *(self.folder / "inference").glob(".*.tmp")):
            path.unlink(missing_ok=True)

    def last(self) -> Path | None:
        """The file to continue from: the pointer's, else the newest; ``None`` if there is none."""
        return next(iter(self.newest_first()), None)

    def newest_first(self) -> list[Path]:
        """All files of the run, the pointer's first, then from the newest to the oldest."""
        files = sorted((p for p in self.folder.glob("model_*.pth") if _NAME.search(p.name)), reverse=True)
        pointer = self.folder / _POINTER
        if not pointer.is_file():
            return files
        name = pointer.read_text(encoding="utf-8", errors="replace").strip()
        named = [p for p in files if p.name == name]
        if files and not named:
            logger.warning("%s: names no checkpoint (%r); taking the newest, %s", pointer, name[:80], files[0].name)
        return named + [p for p in files if p.name != name]

    def load_last(self, parts: dict[str, Any]) -> tuple[Path, int] | None:
        """Restore every part from the last file that can be read; a damaged one is passed over with a warning.

        Returns: the file and the step to continue at; ``None`` if the folder holds no checkpoint.
        Raises: CheckpointError if no file can be read, or the first that can does not fit the run.
        """
        files = self.newest_first()
        for path in files:
            try:
                state = read_checkpoint(path)
            except CheckpointError as error:
                logger.warning("%s; trying the one before", error)
                continue
            try:
                return path, _restore(path, state, parts)
            except CheckpointError as error:
                raise CheckpointError(f"{error} ({_POINTER} in that folder decides which file is taken.)") from error
        if files:
            raise CheckpointError(
                f"{self.folder}: none of its {len(files)} checkpoints can be read. Start again in another OUTPUT_DIR."
            )
        return None

    def load(self, path: Path, parts: dict[str, Any]) -> int:
        """Restore every part (anything with ``load_state_dict``) and return the step to continue at.

        Raises: CheckpointError if the file is no training state or does not fit the run.
        """
        return _restore(path, read_checkpoint(path), parts)


def _restore(path: Path, state: Mapping[str, Any], parts: dict[str, Any]) -> int:
    absent = [name for name in ("step", *parts) if name not in state]
    missing = [name for name in absent if not isinstance(parts.get(name), ProcessMemories)]
    if missing:
        raise CheckpointError(
            f"{path}: is no training state, {', '.join(missing)} missing. To start from its weights, set MODEL.WEIGHTS."
        )
    for name in absent:  # of an older version
        logger.warning("%s: holds no %s; the model starts without, so losses differ from those of an unbroken run", path, name)
    for name, part in parts.items():
        if name in absent:
            continue
        try:
            part.load_state_dict(state[name])
            if isinstance(part, torch.optim.Optimizer):
                _check_optimizer(part)
        except Exception as error:  # parts of other packages raise whatever comes up when a field has another type
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise CheckpointError(f"{path}: its {name} does not fit this configuration ({reason}).") from error
    step = state["step"]
    if type(step) is not int or not 0 <= step <= LARGEST_INTEGER:
        raise CheckpointError(f"{path}: its step is {shown(step)}, expected a number of steps.")
    return step


def _check_optimizer(optimizer: torch.optim.Optimizer) -> None:
    """What ``load_state_dict`` takes unseen, and the first step would stumble over or compute nonsense with.

    Raises: ValueError for a setting of another type, a missing moment, or one of another shape than its parameter.
    """
    needed = _MOMENTS.get(type(optimizer).__name__, set())
    for group in optimizer.param_groups:
        for name, default in optimizer.defaults.items():
            value = group.get(name)
            if isinstance(default, bool):
                if name != "differentiable" and not isinstance(value, bool):  # torch adds that one while it loads
                    raise ValueError(f"{name} is {shown(value)}, expected true or false")
            elif isinstance(default, int | float) and not (isinstance(value, int | float) and math.isfinite(value)):
                raise ValueError(f"{name} is {shown(value)}, expected a number")
            if name == "betas" and not _are_decays(value):
                raise ValueError(f"betas are {shown(value)}, expected two numbers from 0 to below 1")
    for parameter, moments in optimizer.state.items():
        _check_moments(parameter, moments, needed)


def _check_moments(parameter: Tensor, moments: Mapping[str, Any], needed: set[str]) -> None:
    if moments and not needed <= set(moments):
        raise ValueError(f"{', '.join(sorted(needed - set(moments)))} missing")
    for name, value in moments.items():
        shape = torch.Size() if name == "step" else parameter.shape
        if name in needed and not (isinstance(value, Tensor) and value.shape == shape):
            raise ValueError(f"{name} does not have its parameter's shape")
        if isinstance(value, Tensor) and value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise ValueError(f"{name} repeats fewer values than it has")
        if name == "step" and isinstance(value, Tensor) and not bool((value >= 0).all()):
            raise ValueError(f"step is {shown(value)}, expected 0 or more")


def _are_decays(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(b, int | float) and 0 <= b < 1 for b in value)


class ProcessMemories:
    """What a model remembers of a training beside its weights, of every process of the run."""

    def __init__(self, model: RemembersTraining, process: Process) -> None:
        self.model, self.process = model, process

    def state_dict(self) -> list[dict[Any, Any]]:
        """One state per process, in their order; all of them must call this."""
        return self.process.gather([self.model.training_state()])

    def load_state_dict(self, states: list[dict[Any, Any]]) -> None:
        """Take that of this process; one that the run did not have before begins with nothing. Raises: ValueError."""
        if not isinstance(states, list) or not all(isinstance(state, dict) for state in states):
            raise ValueError(f"memories are {shown(states)}, expected one per process")
        self.model.load_training_state(states[self.process.rank] if self.process.rank < len(states) else {})


class AveragedWeights:
    """Exponential moving average of a model's floating-point weights."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values = {k: v.detach().clone() for k, v in model.state_dict().items() if v.is_floating_point()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards the model; early steps (fewer than the average's span) move faster."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for key, value in model.state_dict().items():
            if key in self.values:
                self.values[key].lerp_(value, 1 - decay)

    def take_buffers(self, model: nn.Module) -> None:
        """The model's buffers instead of their averages."""
        for key, value in model.named_buffers():
            if key in self.values:
                self.values[key].copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """The averaged tensors."""
        return self.values

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the tensors of a checkpoint."""
        if state.keys() != self.values.keys():
            raise ValueError("averaged weights have other keys")
        for key, value in state.items():
            self.values[key].copy_(value)
