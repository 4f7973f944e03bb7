"""Positions on grids: sine encoding (DETR, appendix A.4), centres of cells, learnt tables at other sizes (DINOv2)."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["cell_centres", "resize_position_table", "sine_position_encoding"]


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


def cell_centres(sizes: Sequence[Sequence[int]], levels: int, like: Tensor) -> Tensor:
    """Centre of each cell of some grids, flattened row by row and joined: reference points of deformable attention.

    Args:
        sizes: (height, width) of each grid, cells.
        levels: how many levels each cell looks at; its point is the same for all.
        like: gives device and type.

    Returns: ``(1, Σ h·w, levels, 2)`` as (x, y) in [0, 1].
    """
    centres = []
    for h, w in sizes:
        y = (torch.arange(h, dtype=like.dtype, device=like.device) + 0.5) / h
        x = (torch.arange(w, dtype=like.dtype, device=like.device) + 0.5) / w
        centres.append(torch.stack((x[None].expand(h, w), y[:, None].expand(h, w)), dim=-1).flatten(0, 1))
    return torch.cat(centres)[None, :, None].expand(1, -1, levels, 2)


def resize_position_table(table: Tensor, height: int, width: int) -> Tensor:
    """A learnt table of positions on a grid of another size, as DINOv2 does it.

    Bicubic, without smoothing, and with scales ``(height + 0.1) / side`` instead of ``height / side``: the samples lie a little
    off, and published weights expect just that. A table that already has the size is returned as it is.

    Args:
        table: ``(1, side², C)`` of a square grid, row by row.
        height: rows wanted.
        width: columns wanted.

    Returns: ``(1, height·width, C)``, dtype of ``table``; computed in float32 or better.
    """
    side = math.isqrt(table.shape[1])
    if height == width == side:
        return table
    plane = table.mT.unflatten(2, (side, side))  # (1, C, side, side)
    plane = plane.to(torch.promote_types(table.dtype, torch.float32))
    scales = ((height + 0.1) / side, (width + 0.1) / side)
    return F.interpolate(plane, scale_factor=scales, mode="bicubic").flatten(2).mT.to(table.dtype)
