"""LARS: SGD with momentum whose step on each tensor is scaled by the tensor's norm (You et al., arXiv 1708.03888)."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

__all__ = ["LARS"]

_CACHED = 1 << 18  # numbers


class LARS(Optimizer):
    """``g += decay·w``; scaled groups: ``g *= trust·‖w‖ / (‖g‖ + eps)``; then ``v = momentum·v + g`` and ``w -= lr·v``.

    The norm of ``g`` is taken after the decay is added; where one of the norms is 0 the factor is 1. No Nesterov. Gradients
    must be those of the loss itself: under mixed precision unscale them first, the factor does not cancel in ``eps``, in the
    decay and in groups that are not scaled.

    Many tensors of a group are updated together, by one call per operation, and without waiting for the device.

    Args:
        groups: parameters or groups of them; a group may set ``lr``, ``momentum``, ``weight_decay``, ``trust``, ``eps`` and
            ``scaled`` (bool: whether the norms matter; normally not for parameters with one dimension).
        lr: learning rate.
        momentum: share of the last update that is kept.
        weight_decay: factor of the L2 penalty's gradient.
        trust: length of a step relative to the weights at a rate of 1.
        eps: added to the gradient's norm.

    The state of a parameter is ``momentum_buffer``, with its shape.
    """

    def __init__(
        self,
        groups: Iterable[Any],
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 0.001,
        eps: float = 1e-8,
        scaled: bool = True,
    ) -> None:
        settings = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust, "eps": eps, "scaled": scaled}
        super().__init__(groups, settings)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient; ``closure`` computes loss and gradients anew and its loss is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weights in _parts([parameter for parameter in group["params"] if parameter.grad is not None]):
                self._update(weights, group)
        return loss

    def _update(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        for w in weights:
            if "momentum_buffer" not in self.state[w]:
                self.state[w]["momentum_buffer"] = torch.zeros_like(w)
        velocities = [self.state[w]["momentum_buffer"] for w in weights]
        gradients: Sequence[Tensor] = [w.grad for w in weights if w.grad is not None]  # all of them
        if group["weight_decay"]:
            gradients = torch._foreach_add(tuple(gradients), weights, alpha=group["weight_decay"])
        torch._foreach_mul_(velocities, group["momentum"])
        if group["scaled"]:
            torch._foreach_addcmul_(velocities, tuple(gradients), _factors(weights, gradients, group["trust"], group["eps"]))
        else:
            torch._foreach_add_(velocities, tuple(gradients))
        torch._foreach_add_(weights, velocities, alpha=-group["lr"])


def _parts(weights: list[Tensor]) -> Iterator[list[Tensor]]:
    """All tensors at once on a GPU, where calls are dear; on a CPU so few that what one call writes stays in the cache."""
    part: list[Tensor] = []
    for weight in weights:
        if part and weight.device.type == "cpu" and sum(w.numel() for w in part) + weight.numel() > _CACHED:
            yield part
            part = []
        part.append(weight)
    if part:
        yield part


def _factors(weights: list[Tensor], gradients: Sequence[Tensor], trust: float, eps: float) -> list[Tensor]:
    """``trust·‖w‖ / (‖g‖ + eps)`` of each tensor, 1 where one of the norms is 0; scalars on the tensors' device."""
    lengths, slopes = torch.stack(torch._foreach_norm(weights)), torch.stack(torch._foreach_norm(tuple(gradients)))
    ratios = trust * lengths / (slopes + eps)
    return list(torch.where((lengths > 0) & (slopes > 0), ratios, 1.0).unbind())
