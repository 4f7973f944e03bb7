"""Golden arrays of DITO: the whole file where the shared data are, else the part of it that the repository holds."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dense.checkpoint.converting import layout


class Golden:
    """Arrays of the reference by name, and its weights under our names."""

    def __init__(self, path: Path, *, is_part: bool) -> None:
        self.stored, self.is_part = np.load(path, allow_pickle=False), is_part
        prefix = "weights/"
        theirs = {name: self.stored[name] for name in self.stored.files if name.startswith(prefix)}
        self.jax = {name.removeprefix(prefix): torch.from_numpy(array.astype(np.float32)) for name, array in theirs.items()}
        self.weights = layout("dito").to_ours(self.jax).tensors

    def need(self, *names: str) -> None:
        """Skip the test if the repository does not hold these."""
        if not all(name in self.stored.files for name in names):
            pytest.skip(f"{names[0]}: only among the shared data (DENSE_SHARED)")

    def tensor(self, name: str) -> torch.Tensor:
        return torch.from_numpy(np.array(self.stored[name]))

    def nchw(self, name: str) -> torch.Tensor:
        return self.tensor(name).permute(0, 3, 1, 2)

    def image(self, name: str = "image_u8") -> torch.Tensor:
        return self.nchw(name).float() / 255

    def part(self, prefix: str) -> dict[str, torch.Tensor]:
        """State dict of the part of a model that stands at ``prefix``."""
        found = {k.removeprefix(prefix): v for k, v in self.weights.items() if k.startswith(prefix)}
        if not found and self.is_part:
            pytest.skip(f"weights of {prefix}: only among the shared data (DENSE_SHARED)")
        return found


@pytest.fixture(scope="session")
def arrays(golden):
    shared = os.environ.get("DENSE_SHARED", "")
    path = Path(shared) / "golden" / "dito.npz" if shared else golden("dito_vision.npz")
    return Golden(path, is_part=not shared)


class Reference:
    """Stored arrays of the detection part: boxes become (x1, y1, x2, y2), deltas (dx, dy, dw, dh), maps NCHW."""

    def __init__(self, path) -> None:
        self.arrays = np.load(path, allow_pickle=False)

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def __call__(self, name: str) -> torch.Tensor:
        """As stored."""
        return torch.from_numpy(np.array(self.arrays[name]))

    def boxes(self, name: str) -> torch.Tensor:
        """Of (y1, x1, y2, x2) or (dy, dx, dh, dw)."""
        return self(name)[..., [1, 0, 3, 2]]

    def map(self, name: str) -> torch.Tensor:
        """``(..., h, w, C)`` -> ``(..., C, h, w)``."""
        return self(name).movedim(-1, -3)

    def pyramid(self, prefix: str) -> dict[str, torch.Tensor]:
        """Levels p2 to p5."""
        return {f"p{level}": self.map(f"{prefix}.p{level}") for level in range(2, 6)}


@pytest.fixture(scope="session")
def reference(golden: Callable) -> Reference:
    """What lies in the repository: everything but weights, pictures and the maps of backbone and pyramid."""
    return Reference(golden("dito_detection.npz"))


@pytest.fixture(scope="session")
def whole_reference(shared) -> Reference:
    """All arrays, with the weights."""
    return Reference(shared / "golden" / "dito.npz")
