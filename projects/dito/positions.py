"""Learnt positions of another grid, and of a random crop of a larger one (cropped positional embedding, RO-ViT §3.2)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["crop_positions", "resize_positions"]


def resize_positions(table: Tensor, height: int, width: int) -> Tensor:
    """A learnt table on a grid of another size: bilinear, half-pixel centres, smoothed where it shrinks.

    A grid of as many cells as the table gets it as it is, whatever its sides: so do the published weights' users.

    Args:
        table: ``(1, side², C)`` of a square grid, row by row.
        height: rows wanted.
        width: columns wanted.

    Returns: ``(1, height·width, C)``, dtype of ``table``; computed in float32 or better.
    """
    if height * width == table.shape[1]:
        return table
    side = math.isqrt(table.shape[1])
    plane = table.mT.unflatten(2, (side, side))  # (1, C, side, side)
    plane = plane.to(torch.promote_types(table.dtype, torch.float32))
    resized = F.interpolate(plane, size=(height, width), mode="bilinear", align_corners=False, antialias=True)
    return resized.flatten(2).mT.to(table.dtype)


def crop_positions(table: Tensor, crops: Tensor, height: int, width: int, side: int = 64) -> Tensor:
    """Positions of one crop per image out of the table enlarged to ``side``², as if the image were that part of a larger one.

    Bin i of n reads the enlarged table once, bilinearly, at index ``start + (i + 0.5)·(end − start)/n``, held to the last cell;
    no half-pixel shift. Enlarging and reading are linear and act on each axis alone, so both are one small matrix per axis
    and image, and the enlarged table is never made.

    Args:
        table: ``(1, g², C)`` of a square grid, row by row.
        crops: ``(B, 4)`` boxes x1, y1, x2, y2 in cells of the enlarged grid, 0 … ``side``.
        height: rows of tokens.
        width: columns of tokens.
        side: rows and columns of the enlarged grid, those of the detector's token map.

    Returns: ``(B, height·width, C)``, dtype of ``table``; computed in float32 or better.
    Raises: ValueError if ``crops`` has another shape.
    """
    if crops.dim() != 2 or crops.shape[1] != 4:
        raise ValueError(f"crops: shape {list(crops.shape)}, expected (images, 4).")
    grid = math.isqrt(table.shape[1])
    dtype = torch.promote_types(table.dtype, torch.float32)
    x1, y1, x2, y2 = crops.to(dtype).unbind(1)
    enlarge = _enlarging(grid, side, table.device, dtype)  # (side, g)
    rows, columns = _reading(y1, y2, height, side) @ enlarge, _reading(x1, x2, width, side) @ enlarge
    plane = table[0].to(dtype).unflatten(0, (grid, grid))  # (g, g, C)
    within_columns = torch.einsum("bxj,ijc->bixc", columns, plane)
    return torch.einsum("byi,bixc->byxc", rows, within_columns).flatten(1, 2).to(table.dtype)


def _enlarging(grid: int, side: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """``(side, grid)``: bilinear resize of one axis, as a matrix."""
    unit = torch.eye(grid, device=device, dtype=dtype)[None, None]  # an image whose rows are the axis
    return F.interpolate(unit, size=(side, grid), mode="bilinear", align_corners=False, antialias=True)[0, 0]


def _reading(start: Tensor, end: Tensor, bins: int, side: int) -> Tensor:
    """``(B, bins, side)``: weights with which each bin reads the cells of one axis."""
    centre = (torch.arange(bins, device=start.device, dtype=start.dtype) + 0.5) / bins
    place = (start[:, None] + centre * (end - start)[:, None]).clamp(0, side - 1)
    cells = torch.arange(side, device=start.device, dtype=start.dtype)
    return (1 - (place[..., None] - cells).abs()).clamp(min=0)
