"""Simple feature pyramid: every level from the one map of the transformer (ViTDet §3; DITO's has no biases in it)."""

from torch import Tensor, nn

from dense.layers import ChannelNorm

__all__ = ["LEVELS", "SimplePyramid"]

#: names of the levels and their strides, pixels
LEVELS = {"p2": 4, "p3": 8, "p4": 16, "p5": 32}


class SimplePyramid(nn.Module):
    """Map of stride 16 → levels of stride 4 to 32.

    Args:
        width: channels of the map, a multiple of 4.
        channels: of the levels.
    """

    def __init__(self, width: int, channels: int = 256) -> None:
        super().__init__()
        half, quarter = width // 2, width // 4
        self.p2 = _level(channels, quarter, _doubling(width, half), ChannelNorm(half), nn.GELU(), _doubling(half, quarter))
        self.p3 = _level(channels, half, _doubling(width, half))
        self.p4 = _level(channels, width)
        self.p5 = _level(channels, width, nn.MaxPool2d(2))

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """``(B, width, h, w)`` → ``p2`` … ``p5``: ``(B, channels, ·, ·)`` of 4, 2, 1 and ½ times the sides."""
        return {name: getattr(self, name)(features) for name in LEVELS}


def _level(channels: int, width: int, *resampling: nn.Module) -> nn.Sequential:
    level = nn.Sequential()
    level.add_module("resample", nn.Sequential(*resampling))
    level.add_module("reduce", nn.Conv2d(width, channels, 1, bias=False))
    level.add_module("norm1", ChannelNorm(channels))
    level.add_module("smooth", nn.Conv2d(channels, channels, 3, padding=1, bias=False))
    level.add_module("norm2", ChannelNorm(channels))
    return level


def _doubling(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, 2, stride=2, bias=False)
