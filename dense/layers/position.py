"""Sine position encoding of a grid (Mask2Former; DETR, appendix A.4)."""

import math

import torch
from torch import Tensor

__all__ = ["sine_position_encoding"]


def sine_position_encoding(
    height: int,
    width: int,
    channels: int,
    *,
    temperature: float = 10000.0,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Encode each cell's row and column, counted from 1 and divided by the grid's size.

    Args:
        height: rows.
        width: columns.
        channels: width of the encoding; an even number, half of it for the row (first), half for the column.
        temperature: base of the frequencies.
        device: where the result lives.
        dtype: type of the result; computed in float32.

    Returns: ``(channels, height, width)``; even channels of each half hold sines, odd ones cosines.
    Raises: ValueError if ``channels`` is not divisible by 4.
    """
    if channels % 4:
        raise ValueError(f"channels: {channels}, expected a multiple of 4.")
    half = channels // 2
    index = torch.arange(half, dtype=torch.float32, device=device)
    frequency = temperature ** (2 * torch.div(index, 2, rounding_mode="floor") / half)

    def encode(length: int) -> Tensor:
        position = torch.arange(1, length + 1, dtype=torch.float32, device=device) / (length + 1e-6) * (2 * math.pi)
        angle = position[:, None] / frequency  # (length, half)
        return torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), dim=2).flatten(1)

    rows = encode(height).t()[:, :, None].expand(half, height, width)
    columns = encode(width).t()[:, None, :].expand(half, height, width)
    return torch.cat((rows, columns)).to(dtype)
