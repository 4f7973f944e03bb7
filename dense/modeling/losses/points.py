"""Points on maps: uniform draws, sampling, and the most uncertain ones (PointRend, §3.1; Mask2Former, §3.3)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["PointSource", "sample_at_points", "uncertain_points", "uniform_points"]

#: draws uniform numbers in [0, 1) of a shape on a device; handed in as a part so that tests can replay draws
PointSource = Callable[[tuple[int, ...], torch.device], Tensor]


def uniform_points(shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Uniform numbers in [0, 1) from torch's default generator."""
    return torch.rand(shape, device=device)


def sample_at_points(maps: Tensor, points: Tensor) -> Tensor:
    """Bilinear values of maps at points; outside counts as zero, pixel centres lie at half-integers.

    Args:
        maps: ``(N, C, H, W)`` floating point, or bool: then only the pixels that are needed become numbers.
        points: ``(N, P, 2)`` as (x, y) in [0, 1].

    Returns: ``(N, C, P)``; float32 for bool.
    """
    if maps.shape[0] == 0:
        return points.new_zeros(0, maps.shape[1], points.shape[1])
    if maps.dtype is torch.bool:
        return _sample_bits(maps, points)
    return F.grid_sample(maps, 2.0 * points[:, :, None] - 1.0, mode="bilinear", align_corners=False)[..., 0]


def _sample_bits(maps: Tensor, points: Tensor) -> Tensor:
    """``sample_at_points`` of bool maps by their four neighbours."""
    height, width = maps.shape[-2:]
    place = points * points.new_tensor((width, height)) - 0.5
    corner = place.floor()
    share, pixels = place - corner, maps.flatten(2)
    total = points.new_zeros(*maps.shape[:2], points.shape[1])
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        x, y = (corner + corner.new_tensor((dx, dy))).long().unbind(-1)  # (N, P)
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        index = y.clamp(0, height - 1) * width + x.clamp(0, width - 1)
        weight = (share[..., 0] if dx else 1 - share[..., 0]) * (share[..., 1] if dy else 1 - share[..., 1])
        found = pixels.gather(2, index[:, None].expand(-1, maps.shape[1], -1))
        total += found * (weight * inside)[:, None]
    return total


def uncertain_points(
    logits: Tensor, num_points: int, *, oversample: float, importance: float, draw: PointSource = uniform_points
) -> Tensor:
    """Points where the logits are nearest to zero, topped up with uniform ones.

    Args:
        logits: ``(N, 1, H, W)``.
        num_points: P.
        oversample: candidates per point, ≥ 1.
        importance: share of the P points taken from the most uncertain candidates, in [0, 1].
        draw: source of uniform numbers; called for the candidates, then for the fresh points (if any).

    Returns: ``(N, P, 2)`` as (x, y) in [0, 1].
    """
    count = logits.shape[0]
    candidates = draw((count, int(num_points * oversample), 2), logits.device)
    uncertainty = -sample_at_points(logits, candidates)[:, 0].abs()  # (N, P·oversample)
    kept = int(importance * num_points)
    index = uncertainty.topk(kept, dim=1).indices
    chosen = candidates.gather(1, index[..., None].expand(-1, -1, 2))
    if kept < num_points:
        chosen = torch.cat((chosen, draw((count, num_points - kept, 2), logits.device)), dim=1)
    return chosen
