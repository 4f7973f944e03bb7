"""Pixel propagation: a position becomes the similarity-weighted sum of the transformed features of its view (section 5)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from dense.errors import ConfigError
from dense.projects.pixpro.losses import unit_rows
from dense.projects.pixpro.projector import Projector

__all__ = ["Propagation", "propagate", "value_transform"]

_BELOW_ONE = 1e-6  # keeps the slope of s^γ finite at 0 for γ < 1


class Propagation(nn.Module):
    """y_i = Σ_j max(u_i·u_j, clamp)^γ v_j, with u the unit features and v those of the transform, made unit afterwards.

    Args:
        transform: g, from ``value_transform``.
        sharpness: γ.
        clamp: least similarity.
        block: query positions handled together: memory is block · P per image, not P².
    """

    def __init__(self, transform: nn.Module, sharpness: float = 2.0, clamp: float = 0.0, block: int = 1024) -> None:
        super().__init__()
        self.transform = transform
        self.sharpness, self.clamp, self.block = sharpness, clamp, block

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)``, not normalised → same shape, not normalised either; float32 at least."""
        values = self.transform(x)
        with torch.autocast(x.device.type, enabled=False):
            out = propagate(unit_rows(x), unit_rows(values), self.sharpness, self.clamp, self.block)
        return out.mT.unflatten(2, x.shape[2:])


def value_transform(channels: int, layers: int, norm: Callable[[int], nn.Module] = nn.BatchNorm2d) -> nn.Module:
    """g: nothing, one 1×1 convolution, or two with norm and ReLU between.

    Raises: ConfigError for another number of layers.
    """
    if layers == 0:
        return nn.Identity()
    if layers == 1:
        return nn.Conv2d(channels, channels, 1)
    if layers == 2:
        return Projector(channels, channels, channels, norm)
    raise ConfigError(f"PRETRAIN.TRANSFORM_LAYERS: {layers}, expected 0, 1 or 2.")


def propagate(units: Tensor, values: Tensor, sharpness: float, clamp: float, block: int) -> Tensor:
    """The weighted sums.

    Args:
        units: u, unit features ``(N, P, C)``.
        values: v, ``(N, P, D)``.
        sharpness: γ > 0.
        clamp: least similarity, ≥ 0 unless γ is a whole number.
        block: rows of the similarity matrix held at once.

    Returns: ``(N, P, D)``.
    """
    return _Propagate.apply(units, values, sharpness, clamp, block)


def _weights(similarity: Tensor, sharpness: float, clamp: float) -> tuple[Tensor, Tensor]:
    """Weights s^γ of a block of u·u, and the base s."""
    base = similarity.clamp(min=clamp)
    if sharpness < 1:
        base += _BELOW_ONE
    return _power(base, sharpness), base


def _power(base: Tensor, exponent: float) -> Tensor:
    """``base ** exponent``; products where it is 1 or 2, since a general power is several times slower."""
    if exponent == 1:
        return base
    return base * base if exponent == 2 else base.pow(exponent)


class _Propagate(torch.autograd.Function):
    """Blocks of the similarity matrix are made in both passes and never kept."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,  # noqa: ANN401
        units: Tensor,
        values: Tensor,
        sharpness: float,
        clamp: float,
        block: int,
    ) -> Tensor:
        out = torch.empty_like(values)
        for first in range(0, units.shape[1], block):
            rows = slice(first, first + block)
            weights, _ = _weights(units[:, rows] @ units.mT, sharpness, clamp)
            out[:, rows] = weights @ values
        ctx.save_for_backward(units, values)
        ctx.settings = sharpness, clamp, block
        return out

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]  # noqa: ANN401
        units, values = ctx.saved_tensors
        sharpness, clamp, block = ctx.settings
        towards_units, towards_values = torch.zeros_like(units), torch.zeros_like(values)
        for first in range(0, units.shape[1], block):
            rows = slice(first, first + block)
            similarity = units[:, rows] @ units.mT
            weights, base = _weights(similarity, sharpness, clamp)
            towards_values += weights.mT @ upstream[:, rows]
            slope = upstream[:, rows] @ values.mT
            if sharpness != 1:
                slope *= sharpness * _power(base, sharpness - 1)
            slope.masked_fill_(similarity < clamp, 0)
            towards_units[:, rows] += slope @ units  # a position is a query …
            towards_units += slope.mT @ units[:, rows]  # … and one of those that are compared
        return towards_units, towards_values, None, None, None
