"""The temperature of an objective: a constant, or learnt as the logarithm of its inverse (CLIP)."""

import math

import torch
from torch import Tensor, nn

from dense.errors import ConfigError

__all__ = ["Temperature"]


class Temperature(nn.Module):
    """Gives the scale 1 / τ that similarities are multiplied with.

    A learnt one is the parameter ``log_scale`` = log(1 / τ) of zero dimensions, which belongs to no weight decay. It is held in
    [log 1, log ``max_scale``] before every training step, which is the same as after every step of the optimiser.

    Args:
        value: τ at the start, above 0.
        learn: make it a parameter.
        max_scale: highest 1 / τ of a learnt temperature.

    Raises: ConfigError for a temperature that is not a positive number, or, learnt, not in [1 / max_scale, 1].
    """

    def __init__(self, value: float, *, learn: bool = False, max_scale: float = 100.0) -> None:
        super().__init__()
        if not (math.isfinite(value) and value > 0):
            raise ConfigError(f"temperature: {value}, expected a number above 0.")
        if learn and not 1 / max_scale <= value <= 1:
            raise ConfigError(f"temperature: {value}, expected {1 / max_scale:g} to 1 where it is learnt.")
        self.value, self.log_max = value, math.log(max_scale)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(value))) if learn else None

    def forward(self, like: Tensor) -> Tensor:
        """The scale 1 / τ, a scalar in the type and on the device of ``like``."""
        if self.log_scale is None:
            return like.new_tensor(1 / self.value)
        if self.training:
            self.log_scale.data.clamp_(0.0, self.log_max)  # .data: several calls may come before one backward pass
        return self.log_scale.to(like.dtype).exp()

    def current(self) -> float:
        """τ now."""
        return self.value if self.log_scale is None else math.exp(-float(self.log_scale.detach()))
