"""Boxes as numbers: the two coders, shrinking, clipping, overlaps and non-maximum suppression (DITO, box head and proposals).

Boxes are (x1, y1, x2, y2) in pixels throughout.
"""

import math
from dataclasses import dataclass

import torch
import torchvision
from torch import Tensor

__all__ = [
    "BoxCoder",
    "clip_boxes",
    "decode_distances",
    "encode_distances",
    "paired_iou",
    "pairwise_iou",
    "shrink_boxes",
    "suppress",
    "suppression_threshold",
]

_MOST_GROWTH = math.log(1000 / 16)  # of a side, as its logarithm


@dataclass(frozen=True)
class BoxCoder:
    """Boxes relative to reference boxes, as shifts in units of the sides and logarithms of the sides' ratios.

    Attributes:
        weights: factors of dx, dy, dw, dh.
        legacy_plus_one: a side is ``x2 - x1 + 1``, as in the published weights; it changes boxes by parts of a pixel.
    """

    weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
    legacy_plus_one: bool = True

    def encode(self, boxes: Tensor, references: Tensor) -> Tensor:
        """``(N, 4)`` boxes and ``(N, 4)`` references → ``(N, 4)`` deltas (dx, dy, dw, dh)."""
        centres, sides = self._centres(boxes)
        at, of = self._centres(references)
        deltas = torch.cat([(centres - at) / of, torch.log(sides / of)], dim=-1)
        return deltas * deltas.new_tensor(self.weights)

    def decode(self, deltas: Tensor, references: Tensor) -> Tensor:
        """``(N, 4)`` deltas and ``(N, 4)`` references → ``(N, 4)`` boxes; a side grows at most 62.5 times."""
        shifts, growth = (deltas / deltas.new_tensor(self.weights)).split(2, dim=-1)
        at, of = self._centres(references)
        centres, sides = shifts * of + at, growth.clamp(max=_MOST_GROWTH).exp() * of
        corners = centres - sides / 2
        return torch.cat([corners, corners + sides - self._one], dim=-1)

    @property
    def _one(self) -> float:
        return 1.0 if self.legacy_plus_one else 0.0

    def _centres(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        sides = boxes[..., 2:] - boxes[..., :2] + self._one
        return boxes[..., :2] + sides / 2, sides


def encode_distances(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Distances (left, right, top, bottom) of a box's sides from the anchor's centre, in units of the anchor's sides.

    ``(N, 4)`` boxes and ``(N, 4)`` anchors → ``(N, 4)``; inverse of ``decode_distances``.
    """
    centres, sides = (anchors[..., :2] + anchors[..., 2:]) / 2, anchors[..., 2:] - anchors[..., :2]
    before, after = (centres - boxes[..., :2]) / sides, (boxes[..., 2:] - centres) / sides
    return torch.stack([before[..., 0], after[..., 0], before[..., 1], after[..., 1]], dim=-1)


def decode_distances(distances: Tensor, anchors: Tensor) -> Tensor:
    """``(..., 4)`` distances (left, right, top, bottom) and anchors → boxes.

    No activation: negative distances give boxes that do not hold the centre, or inverted ones.
    """
    centres, sides = (anchors[..., :2] + anchors[..., 2:]) / 2, anchors[..., 2:] - anchors[..., :2]
    corners = centres - distances[..., 0::2] * sides
    return torch.cat([corners, centres + distances[..., 1::2] * sides], dim=-1)


def clip_boxes(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Move corners outside ``[0, W-1] x [0, H-1]`` to its border; ``size`` is (H, W) in pixels. Gradients flow inside."""
    height, width = size
    x, y = boxes[..., 0::2].clamp(0, width - 1), boxes[..., 1::2].clamp(0, height - 1)
    return torch.stack([x, y], dim=-1).flatten(-2)


def shrink_boxes(boxes: Tensor, factor: float, size: tuple[int, int]) -> Tensor:
    """Boxes of ``factor`` times width and height about the same centres, clipped to an image of ``size`` (H, W)."""
    centres, sides = (boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]) * factor
    return clip_boxes(torch.cat([centres - sides / 2, centres + sides / 2], dim=-1), size)


def pairwise_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """``(N, 4)`` and ``(M, 4)`` → ``(N, M)`` intersection over union; 0 where both are empty."""
    return _iou(boxes[:, None], others[None])


def paired_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """``(N, 4)`` and ``(N, 4)`` → ``(N,)``: each with its partner; inverted boxes may give values outside [0, 1]."""
    return _iou(boxes, others)


def _iou(boxes: Tensor, others: Tensor) -> Tensor:
    low, high = torch.maximum(boxes[..., :2], others[..., :2]), torch.minimum(boxes[..., 2:], others[..., 2:])
    shared = (high - low).clamp(min=0).prod(dim=-1)
    area, other = ((b[..., 2:] - b[..., :2]).prod(dim=-1) for b in (boxes, others))
    return shared / ((area + other - shared).clamp(min=0) + 1e-8)


def suppression_threshold(threshold: float) -> float:
    """The number that float32 overlaps exceed exactly when they are ``threshold`` or more; libraries suppress above, not at."""
    return float(torch.nextafter(torch.tensor(threshold, dtype=torch.float32), torch.tensor(0.0)))


def suppress(boxes: Tensor, scores: Tensor, threshold: float, most: int) -> Tensor:
    """Non-maximum suppression by "overlap of ``threshold`` or more", as the reference does it.

    With threshold 1 only exact duplicates go. Boxes of four zeros go too, as the rows that fill fixed-size arrays; other empty
    ones stay.

    Args:
        boxes: ``(N, 4)``.
        scores: ``(N,)``.
        threshold: of the intersection over union, in (0, 1].
        most: boxes kept.

    Returns: indices of those kept, best score first.
    """
    kept = torchvision.ops.nms(boxes.float(), scores.float(), suppression_threshold(threshold))
    return kept[(boxes[kept] != 0).any(dim=1)][:most]
