"""Momentum copies of the online network: θ' ← m·θ' + (1 − m)·θ, with m from its start to 1 on a cosine (spec, section 8)."""

import copy
import math
from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

__all__ = ["Momentum", "frozen_copy", "momentum_at"]


def momentum_at(start: float, step: int, steps: int) -> float:
    """m of a step: ``start`` at step 0, 1 at step ``steps`` and after."""
    return 1 - (1 - start) * (math.cos(math.pi * min(step, steps) / steps) + 1) / 2


def frozen_copy(module: nn.Module) -> nn.Module:
    """A copy of a module, values and all, that is not trained by gradients."""
    return copy.deepcopy(module).requires_grad_(False)


class Momentum:
    """Moves copies towards their originals: parameters only, buffers (statistics of norms) stay the copy's own.

    Args:
        pairs: (original, copy) modules of one structure.
        start: m at step 0, in [0, 1].
        steps: K, after which m is 1.
    """

    def __init__(self, pairs: Sequence[tuple[nn.Module, nn.Module]], start: float, steps: int) -> None:
        self.pairs, self.start, self.steps = list(pairs), start, steps

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move all copies once, with the momentum of ``step``, in one fused call per data type."""
        online: list[Tensor] = [p.detach() for original, _ in self.pairs for p in original.parameters()]
        target: list[Tensor] = [p for _, moved in self.pairs for p in moved.parameters()]
        if target:
            torch._foreach_lerp_(target, online, 1 - momentum_at(self.start, step, self.steps))

    @torch.no_grad()
    def adopt(self, loaded: Collection[str], names: Sequence[str]) -> None:
        """Make those copies equal to their originals of which no value was loaded.

        Args:
            loaded: names in the model's state dict that were loaded.
            names: of the copies in the model, in the order of ``pairs``.
        """
        for name, (original, moved) in zip(names, self.pairs, strict=True):
            if not any(key.startswith(f"{name}.") for key in loaded):
                moved.load_state_dict(original.state_dict())
