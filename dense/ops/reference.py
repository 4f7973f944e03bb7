"""Multi-scale deformable attention in plain PyTorch: fallback, oracle of the kernels and what an exporter traces (Deformable DETR, eq. 3)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["ms_deform_attn_reference"]


def ms_deform_attn_reference(
    value: Tensor,
    spatial_shapes: Tensor | Sequence[tuple[int, int]],
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """Sum bilinear samples of every level, weighted, with one ``grid_sample`` per level; differentiable twice, on any device.

    Args:
        value: ``(B, S, M, C)``, the levels flattened row by row and joined, ``S = Σ H·W``.
        spatial_shapes: ``(L, 2)`` int64 as (H, W) in pixels, or the same as pairs of Python ints (traceable). A level may be empty.
        sampling_locations: ``(B, Q, M, L, P, 2)`` as (x, y), the whole level is [0, 1]; outside counts as zeros.
        attention_weights: ``(B, Q, M, L, P)``.

    Returns: ``(B, Q, M·C)``. Arguments are not checked: `dense.ops.ms_deform_attn` does that.
    """
    batch, _, heads, channels = value.shape
    queries, points = sampling_locations.shape[1], sampling_locations.shape[4]
    shapes = spatial_shapes.tolist() if isinstance(spatial_shapes, Tensor) else spatial_shapes
    # Half a pixel outside the map nothing is left to sample, and no pixel is wider than the map: the clamp changes no result,
    # but keeps 2x - 1 finite and the integer indices of grid_sample in range.
    grids = sampling_locations.clamp(-1.0, 2.0) * 2.0 - 1.0
    grids = grids.permute(3, 0, 2, 1, 4, 5)  # (L, B, M, Q, P, 2)
    weights = attention_weights.permute(3, 0, 2, 1, 4)  # (L, B, M, Q, P)
    output = value.new_zeros(batch * heads, channels, queries)
    start = 0
    for level, (height, width) in enumerate(shapes):
        stop = start + height * width
        if height * width and output.numel():  # grid_sample refuses empty maps
            pixels = value[:, start:stop].permute(0, 2, 3, 1).reshape(batch * heads, channels, height, width)
            grid = grids[level].reshape(batch * heads, queries, points, 2)
            sampled = F.grid_sample(pixels, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
            output = output + (sampled * weights[level].reshape(batch * heads, 1, queries, points)).sum(-1)
        start = stop
    return output.reshape(batch, heads * channels, queries).mT  # (B, Q, M·C)
