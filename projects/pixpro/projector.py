"""Projector and predictor: two 1×1 convolutions with a norm and a ReLU between (spec, section 4)."""

from collections.abc import Callable

from torch import Tensor, nn

__all__ = ["Projector"]


class Projector(nn.Module):
    """``channels`` → ``hidden`` → ``out``; names as in the official files; PyTorch's own initial values.

    Args:
        channels: of the input.
        hidden: of the layer between; the official code has 4096, the paper says 2048.
        out: of the output.
        norm: makes the norm of so many channels.
    """

    def __init__(self, channels: int, hidden: int, out: int, norm: Callable[[int], nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__()
        self.linear1 = nn.Conv2d(channels, hidden, 1)
        self.bn1 = norm(hidden)
        self.relu = nn.ReLU(inplace=True)
        self.linear2 = nn.Conv2d(hidden, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` → ``(N, out, H, W)``."""
        out: Tensor = self.linear2(self.relu(self.bn1(self.linear1(x))))
        return out
