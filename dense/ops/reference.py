"""Multi-scale deformable attention (Deformable DETR, eq. 3) in plain PyTorch: fallback, oracle, and what an exporter traces."""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["ms_deform_attn_reference", "ms_deform_attn_reference_backward"]

Shapes = Tensor | Sequence[tuple[int, int]]


def ms_deform_attn_reference(
    value: Tensor, spatial_shapes: Shapes, sampling_locations: Tensor, attention_weights: Tensor
) -> Tensor:
    """Sum bilinear samples of every level, weighted, with one ``grid_sample`` per level; differentiable, on any device.

    Args:
        value: ``(B, S, M, C)``, the levels flattened row by row and joined, ``S = Σ H·W``.
        spatial_shapes: ``(L, 2)`` int64 as (H, W) in pixels, or the same as pairs of Python ints (traceable). May be empty.
        sampling_locations: ``(B, Q, M, L, P, 2)`` as (x, y), the whole level is [0, 1]; outside counts as zeros.
        attention_weights: ``(B, Q, M, L, P)``.

    Returns: ``(B, Q, M·C)``. Arguments are not checked: `dense.ops.ms_deform_attn` does that.
    """
    batch, _, heads, channels = value.shape
    queries = sampling_locations.shape[1]
    output: Tensor | None = None
    for level, pixels, grid in _levels(value, spatial_shapes, sampling_locations):
        weighted = _sample(pixels, grid) * _by_head(attention_weights[:, :, :, level]).unsqueeze(1)  # (B·M, C, Q, P)
        output = weighted.sum(-1) if output is None else output + weighted.sum(-1)
    if output is None:  # zeros, yet part of the graph: the gradients are zero, not missing
        nothing = value[:0].sum() + sampling_locations[:0].sum() + attention_weights[:0].sum()
        output = nothing.expand(batch * heads, channels, queries)
    return output.reshape(batch, heads * channels, queries).mT  # (B, Q, M·C)


def ms_deform_attn_reference_backward(
    grad_output: Tensor, value: Tensor, spatial_shapes: Shapes, sampling_locations: Tensor, attention_weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients by value, locations and weights, written out: inside an operator's kernel autograd is off.

    Args:
        grad_output: ``(B, Q, M·C)``; the others as in `ms_deform_attn_reference`.
    """
    batch, _, heads, channels = value.shape
    by_value, by_locations = torch.zeros_like(value), torch.zeros_like(sampling_locations)
    by_weights = torch.zeros_like(attention_weights)
    gradient = grad_output.mT.reshape(batch * heads, channels, -1, 1)  # (B·M, C, Q, 1)
    start = 0
    for level, pixels, grid in _levels(value, spatial_shapes, sampling_locations):
        weights = _by_head(attention_weights[:, :, :, level]).unsqueeze(1)  # (B·M, 1, Q, P)
        by_pixels, by_grid = torch.ops.aten.grid_sampler_2d_backward(
            gradient * weights, pixels, grid, 0, 0, False, [True, True]
        )
        stop = start + pixels.shape[2] * pixels.shape[3]
        by_value[:, start:stop] = by_pixels.reshape(batch, heads, channels, -1).permute(0, 3, 1, 2)
        by_locations[:, :, :, level] = 2.0 * by_grid.unflatten(0, (batch, heads)).transpose(1, 2)  # grid = 2 · location - 1
        by_weights[:, :, :, level] = (gradient * _sample(pixels, grid)).sum(1).unflatten(0, (batch, heads)).transpose(1, 2)
        start = stop
    return by_value, by_locations, by_weights


def _levels(value: Tensor, spatial_shapes: Shapes, locations: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Each level that has pixels and samples: its index, pixels ``(B·M, C, H, W)`` and grid ``(B·M, Q, P, 2)`` in [-1, 1]."""
    batch, _, heads, channels = value.shape
    if 0 in (batch * heads, channels, locations.shape[1], locations.shape[4]):
        return  # grid_sample refuses what is empty
    start = 0
    for level, (height, width) in enumerate(spatial_shapes.tolist() if isinstance(spatial_shapes, Tensor) else spatial_shapes):
        stop = start + height * width
        if stop > start:
            pixels = value[:, start:stop].permute(0, 2, 3, 1).reshape(batch * heads, channels, height, width)
            # Half a pixel outside nothing is left to sample, and no pixel is wider than the map: the clamp changes no result,
            # but keeps the numbers finite and the integer indices of grid_sample in range.
            yield level, pixels, _by_head(locations[:, :, :, level]).clamp(-1.0, 2.0) * 2.0 - 1.0
        start = stop


def _by_head(array: Tensor) -> Tensor:
    """``(B, Q, M, ...)`` to ``(B·M, Q, ...)``."""
    return array.transpose(1, 2).flatten(0, 1)


def _sample(pixels: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
