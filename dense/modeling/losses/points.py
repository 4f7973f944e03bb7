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
        maps: ``(N, C, H, W)`` floating point.
        points: ``(N, P, 2)`` as (x, y) in [0, 1].

    Returns: ``(N, C, P)``.
    """
    if maps.shape[0] == 0:
        return maps.new_zeros(0, maps.shape[1], points.shape[1])
    return F.grid_sample(maps, 2.0 * points[:, :, None] - 1.0, mode="bilinear", align_corners=False)[..., 0]


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
