"""Multi-scale deformable attention as a module (Deformable DETR, §4.1, equation 3)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dense.ops import ms_deform_attn

__all__ = ["DeformableAttention"]


class DeformableAttention(nn.Module):
    """Each query samples ``points`` places per head and level around its reference point and sums them with learnt weights."""

    def __init__(self, width: int, levels: int, heads: int, points: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width: {width}, expected a multiple of heads ({heads}).")
        self.levels, self.heads, self.points = levels, heads, points
        self.sampling_offsets = nn.Linear(width, heads * levels * points * 2)
        self.attention_weights = nn.Linear(width, heads * levels * points)
        self.value_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Offsets point in compass directions, one step further per point; attention starts uniform."""
        angle = torch.arange(self.heads, dtype=torch.float32) * (2 * math.pi / self.heads)
        direction = torch.stack((angle.cos(), angle.sin()), dim=-1)  # (M, 2)
        direction = direction / direction.abs().amax(dim=-1, keepdim=True)
        steps = torch.arange(1, self.points + 1, dtype=torch.float32)
        bias = (direction[:, None, None] * steps[:, None]).expand(self.heads, self.levels, self.points, 2)
        nn.init.zeros_(self.sampling_offsets.weight)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(bias.flatten())
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for projection in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(projection.weight)
            nn.init.zeros_(projection.bias)

    def forward(
        self,
        query: Tensor,
        reference_points: Tensor,
        value: Tensor,
        spatial_shapes: Tensor,
        padding_mask: Tensor | None = None,
    ) -> Tensor:
        """Attend.

        Args:
            query: ``(B, Q, C)``.
            reference_points: ``(B or 1, Q, L, 2)`` as (x, y) in [0, 1] of each level, or ``(…, 4)`` boxes as centre and size.
            value: ``(B, S, C)``, the levels flattened row by row and joined.
            spatial_shapes: ``(L, 2)`` int64, (height, width) of each level.
            padding_mask: ``(B, S)`` bool, True = the value counts as zero.

        Returns: ``(B, Q, C)``.
        Raises: ValueError if the last axis of ``reference_points`` is neither 2 nor 4.
        """
        batch, queries, _ = query.shape
        grid = (batch, queries, self.heads, self.levels, self.points)
        projected = self.value_proj(value)
        if padding_mask is not None:
            projected = projected.masked_fill(padding_mask[..., None], 0.0)
        projected = projected.unflatten(-1, (self.heads, -1))  # (B, S, M, C/M)
        offsets = self.sampling_offsets(query).view(*grid, 2)
        weights = F.softmax(self.attention_weights(query).view(*grid[:3], -1), dim=-1).view(grid)
        locations = self._locations(reference_points, offsets, spatial_shapes)
        return self.output_proj(ms_deform_attn(projected, spatial_shapes, locations, weights))  # type: ignore[no-any-return]

    def _locations(self, reference_points: Tensor, offsets: Tensor, spatial_shapes: Tensor) -> Tensor:
        anchor = reference_points[:, :, None, :, None]  # (B, Q, 1, L, 1, 2 or 4)
        if anchor.shape[-1] == 2:
            size = spatial_shapes.flip(-1).to(offsets.dtype)  # (L, 2) as (width, height)
            return anchor + offsets / size[:, None]
        if anchor.shape[-1] == 4:
            return anchor[..., :2] + offsets / self.points * anchor[..., 2:] * 0.5
        raise ValueError(f"reference_points: last axis is {anchor.shape[-1]}, expected 2 (points) or 4 (boxes).")
