"""Checkpoints of a run: written whole or not at all, found again after a crash, continued to the same numbers."""

import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dense.checkpoint.reading import read_checkpoint
from dense.checkpoint.writing import save_training_state
from dense.errors import CheckpointError
from dense.io import atomic_write

__all__ = ["AveragedWeights", "Checkpoints", "step_seed"]

_POINTER = "last_checkpoint"
_NAME = re.compile(r"model_(\d{7})\.pth$")


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

    def last(self) -> Path | None:
        """The file to continue from: the pointer's, else the newest; ``None`` if there is none."""
        pointer = self.folder / _POINTER
        name = pointer.read_text(encoding="utf-8").strip() if pointer.is_file() else ""
        if name and (self.folder / name).is_file():
            return self.folder / name
        files = sorted(p for p in self.folder.glob("model_*.pth") if _NAME.search(p.name))
        return files[-1] if files else None

    def load(self, path: Path, parts: dict[str, Any]) -> int:
        """Restore every part (anything with ``load_state_dict``) and return the step to continue at.

        Raises: CheckpointError if the file is no training state or does not fit the run.
        """
        state = read_checkpoint(path)
        missing = [name for name in ("step", *parts) if name not in state]
        if missing:
            raise CheckpointError(f"{path}: is no training state, {', '.join(missing)} missing. To start from its weights, set MODEL.WEIGHTS.")
        for name, part in parts.items():
            try:
                part.load_state_dict(state[name])
            except (RuntimeError, ValueError, KeyError) as error:
                reason = str(error).splitlines()[0]
                raise CheckpointError(f"{path}: its {name} does not fit this configuration ({reason}).") from error
        return int(state["step"])


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

    def state_dict(self) -> dict[str, Any]:
        """The averaged tensors."""
        return self.values

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the tensors of a checkpoint."""
        if state.keys() != self.values.keys():
            raise ValueError("averaged weights have other keys")
        for key, value in state.items():
            self.values[key].copy_(value)
