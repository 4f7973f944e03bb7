"""Weights and draws of the reference arrays: the rule that gives a tensor from its official key, and readers of the files.

The reference outputs were computed with weights that nobody has to store: each tensor is a function of its key and shape.
"""

import functools
import json
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch

SMALL_RESIDUAL = ("out_proj.weight", "linear2.weight", "output_proj.weight")
SHARP_ATTENTION = ("in_proj_weight", "attn.qkv")
EMBEDDINGS = ("query_feat", "query_embed", "level_embed", "pos_embed", "cls_token")


@functools.cache
def fill(key, shape):
    """float32 array of the official ``key`` with ``shape`` (a tuple); read-only."""
    generator = np.random.RandomState(zlib.crc32(key.encode()))
    noise = np.asarray(generator.standard_normal(shape), dtype=np.float32)
    values = np.asarray(_scaled(key, shape, noise), dtype=np.float32)
    values.setflags(write=False)
    return values


def _scaled(key, shape, noise):
    last = key.rpartition(".")[2]
    if last == "running_var":
        return np.abs(noise) + 0.5
    if last == "running_mean":
        return noise * 0.1
    if last == "bias" or last.endswith("_bias"):
        return noise * (2.0 if key.endswith("sampling_offsets.bias") else 0.05)
    if len(shape) < 2:
        return 1.0 + noise * 0.1
    inputs = int(np.prod(shape[1:]))
    if "class_embed" in key:
        return 10.0 * noise / np.sqrt(inputs)
    if key.endswith(SMALL_RESIDUAL):
        return 0.3 * noise / np.sqrt(inputs)
    if any(part in key for part in SHARP_ATTENTION):
        return 2.0 * noise / np.sqrt(inputs)
    if any(part in key for part in EMBEDDINGS):
        return noise
    return noise / np.sqrt(inputs)


def state_dict(shapes: Mapping[str, Iterable[int]]) -> dict[str, torch.Tensor]:
    """Filled tensors of official keys and shapes."""
    return {key: torch.from_numpy(fill(key, tuple(shape)).copy()).reshape(tuple(shape)) for key, shape in shapes.items()}


def load_filled(module, prefix=""):
    """Fill a part of a model as if it stood in the whole model under ``prefix`` (our names are the official ones)."""
    shapes = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    filled = state_dict({f"{prefix}{name}": shape for name, shape in shapes.items()})
    module.load_state_dict({name: filled[f"{prefix}{name}"] for name in shapes})
    return module


class Arrays:
    """The arrays of one stored file whose names begin with ``prefix``."""

    def __init__(self, path: Path, prefix: str = "") -> None:
        self.path, self.prefix = path, prefix
        stored = np.load(path, allow_pickle=False)
        self.values = {name.removeprefix(prefix): stored[name] for name in stored.files if name.startswith(prefix)}

    def __getitem__(self, name: str) -> np.ndarray:
        return self.values[name]

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def tensor(self, name: str) -> torch.Tensor:
        """A copy as a tensor."""
        return torch.from_numpy(np.array(self.values[name]))

    def distance(self, name: str, actual: torch.Tensor) -> float:
        """Greatest difference to the stored array, relative to its greatest value (or to 1, if that is smaller)."""
        expected = self.values[name]
        given = actual.detach().cpu().numpy()
        if f"{name}.shape" in self.values:
            assert given.shape == tuple(self.values[f"{name}.shape"]), f"{name}: {given.shape}"
            given = given.reshape(-1)[:: int(self.values.get(f"{name}.stride", 1))]
        assert given.shape == expected.shape, f"{name}: {given.shape}, stored {expected.shape}"
        assert np.isfinite(given).all(), f"{name}: not finite"
        return float(np.abs(given - expected).max(initial=0) / max(1.0, np.abs(expected).max(initial=0)))

    def packed(self, name: str) -> np.ndarray:
        """A boolean array that was stored as bits."""
        shape = tuple(self.values[f"{name}.shape"])
        bits = np.unpackbits(self.values[f"{name}.packed"])[: int(np.prod(shape))]
        return bits.reshape(shape).astype(bool)

    def shapes(self, name: str = "keys") -> dict[str, list[int]]:
        """Official keys and shapes that the file lists."""
        return json.loads(str(self.values[name]))

    def draws(self) -> "Replay":
        """The stored draws, in the order in which the reference made them."""
        return Replay([self.tensor(f"draw{i:02d}") for i in range(int(self.values["num_draws"]))])


class Replay:
    """Hands out stored uniform numbers instead of random ones; a wrong shape or order fails the test."""

    def __init__(self, draws: list[torch.Tensor]) -> None:
        self.left = list(draws)

    def __call__(self, shape, device) -> torch.Tensor:
        assert self.left, f"one draw too many: {shape}"
        draw = self.left.pop(0)
        assert tuple(draw.shape) == tuple(shape), f"draw of {tuple(shape)}, the reference drew {tuple(draw.shape)}"
        return draw.to(device)


class Recorder:
    """Keeps everything that a part returned, call by call."""

    def __init__(self, part) -> None:
        self.part, self.calls = part, []

    def __call__(self, *given):
        self.calls.append(self.part(*given))
        return self.calls[-1]


def check_losses(arrays: Arrays, losses: Mapping[str, torch.Tensor], tolerance: float = 1e-5) -> None:
    """The stored losses under the stored names, no others."""
    assert sorted(losses) == sorted(arrays["loss_names"].tolist())
    for name, value in zip(arrays["loss_names"].tolist(), arrays["losses"].tolist(), strict=True):
        assert abs(losses[name].item() - value) <= tolerance * max(1.0, abs(value)), f"{name}: {losses[name].item()}, {value}"


def check_criterion(arrays: Arrays, criterion, losses: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Stored matches (``criterion.matcher`` is a ``Recorder``), losses and weighted total; returns the total."""
    for c, call in enumerate(criterion.matcher.calls):
        for i, pair in enumerate(call):
            assert torch.stack(pair).tolist() == arrays[f"call{c}.match{i}"].tolist()
    check_losses(arrays, losses)
    total = torch.stack(list(criterion.weighted(losses).values())).sum()
    assert abs(total.item() - float(arrays["weighted_total"])) <= 1e-5 * abs(total.item())
    return total
