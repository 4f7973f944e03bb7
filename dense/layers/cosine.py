"""Layers that compare directions: input and weights are brought to unit length, the result is scaled (RO-ViT, F-VLM)."""

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["CosineConv2d", "CosineLinear", "unit_length"]

_EPSILON = 1e-12  # under the root
_SCALE = 20.0


def unit_length(x: Tensor, dim: int = -1) -> Tensor:
    """Divide by the Euclidean length along ``dim``; what has no length stays zero. The shape and type of ``x``."""
    return x * (x.square().sum(dim, keepdim=True) + _EPSILON).rsqrt()


class CosineLinear(nn.Linear):
    """``scale ·`` cosine between the input and each output's weights; no bias.

    Args:
        inputs: features of the input.
        outputs: features of the output.
        scale: factor of the cosines.
    """

    def __init__(self, inputs: int, outputs: int, scale: float = _SCALE) -> None:
        super().__init__(inputs, outputs, bias=False)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """``(…, inputs)`` → ``(…, outputs)``."""
        return F.linear(self.scale * unit_length(x), unit_length(self.weight, 1))


class CosineConv2d(nn.Conv2d):
    """Convolution of channels at unit length, times ``scale``, with kernels of unit length at each tap; then the bias.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        kernel: side, odd; the map keeps its size.
        scale: length of the input's channels at each position.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, scale: float = _SCALE) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """``(B, inputs, H, W)`` → ``(B, outputs, H, W)``."""
        return self._conv_forward(self.scale * unit_length(x, 1), unit_length(self.weight, 1), self.bias)
