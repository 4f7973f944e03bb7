"""What the proposal head learns at each anchor: centerness (OLN) and the box around it; anchors, matching, drawing."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dense.projects.dito.boxes import pairwise_iou

__all__ = [
    "IGNORED",
    "NEGATIVE",
    "AnchorTargets",
    "LabelRules",
    "centerness",
    "label_anchors",
    "make_anchors",
    "match_anchors",
    "stack_targets",
]

NEGATIVE, IGNORED = -1, -2  # beside indices of ground-truth boxes


def make_anchors(height: int, width: int, stride: int, scale: float, device: torch.device | str = "cpu") -> Tensor:
    """One square anchor per cell, its centre in the cell's middle.

    Args:
        height: rows of the feature map.
        width: columns.
        stride: pixels per cell.
        scale: side of an anchor in strides.
        device: where the tensor shall be.

    Returns: ``(height * width, 4)`` boxes in pixels, row by row.
    """
    y = (torch.arange(height, device=device) + 0.5) * stride
    x = (torch.arange(width, device=device) + 0.5) * stride
    centres = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).reshape(-1, 2)
    half = stride * scale / 2
    return torch.cat([centres - half, centres + half], dim=1)


def match_anchors(anchors: Tensor, boxes: Tensor, positive: float, negative: float) -> Tensor:
    """Match every anchor with the ground-truth box that it overlaps most.

    The best anchor of each box is matched with it whatever the overlap; of two boxes that claim one anchor the first has it.

    Args:
        anchors: ``(A, 4)``.
        boxes: ``(G, 4)``; there may be none.
        positive: least overlap of a match.
        negative: overlaps below are negative, those between are ignored.

    Returns: ``(A,)`` int64: index of the box, ``NEGATIVE`` or ``IGNORED``.
    """
    if not len(boxes):
        return torch.full((len(anchors),), NEGATIVE, device=anchors.device)
    overlaps = pairwise_iou(boxes, anchors)  # (G, A)
    best, match = overlaps.max(dim=0)
    match = torch.where(best >= positive, match, torch.where(best < negative, NEGATIVE, IGNORED))
    top, favourite = overlaps.max(dim=1)
    for index in reversed(range(len(boxes))):  # so that the first one writes last
        if top[index] > 0:
            match[favourite[index]] = index
    return match


def centerness(anchors: Tensor, boxes: Tensor) -> Tensor:
    """``(A, 4)`` anchors and the ``(A, 4)`` boxes that they match → ``(A,)`` in [0, 1] (FCOS, §3.2).

    1 in the middle of a box, 0 on its border and where the anchor's centre is not strictly inside.
    """
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    before, after = centres - boxes[:, :2], boxes[:, 2:] - centres
    inside = (torch.minimum(before, after) > 0).all(dim=1)
    ratios = torch.minimum(before, after) / (torch.maximum(before, after) + 1e-8)
    return torch.where(inside, ratios.prod(dim=1).clamp(min=0).sqrt(), 0.0)


@dataclass(frozen=True)
class LabelRules:
    """Thresholds and numbers of the two labelers.

    Attributes:
        box: (positive, negative) overlaps of the anchors that learn a box.
        score: likewise of those that learn centerness.
        samples: anchors per image that learn centerness; losses are divided by it.
        positives: greatest share of matched ones among them.
    """

    box: tuple[float, float] = (0.7, 0.3)
    score: tuple[float, float] = (0.3, 0.1)
    samples: int = 256
    positives: float = 255 / 256


@dataclass(frozen=True)
class AnchorTargets:
    """What the anchors of one image learn.

    Attributes:
        scores: ``(A,)`` centerness, 0 for negatives, -1 for anchors that learn none.
        boxes: ``(A, 4)`` in pixels, 0 where there is none.
        has_box: ``(A,)`` bool.
    """

    scores: Tensor
    boxes: Tensor
    has_box: Tensor


def label_anchors(anchors: Tensor, boxes: Tensor, rules: LabelRules) -> AnchorTargets:
    """Run both labelers and draw which anchors learn a score; random numbers come from torch's generator.

    Args:
        anchors: ``(A, 4)`` of all levels.
        boxes: ``(G, 4)`` of the image's objects; there may be none.
        rules: thresholds and numbers.
    """
    wanted, scored = (match_anchors(anchors, boxes, *limits) for limits in (rules.box, rules.score))
    scores = anchors.new_full((len(anchors),), -1.0)
    drawn = _draw(scored, rules)
    scores[drawn] = _centerness_of(anchors, boxes, scored)[drawn]
    has_box = wanted >= 0
    return AnchorTargets(scores, _boxes_of(boxes, wanted), has_box)


def _draw(match: Tensor, rules: LabelRules) -> Tensor:
    positive, negative = (match >= 0).nonzero()[:, 0], (match == NEGATIVE).nonzero()[:, 0]
    positive = _some(positive, int(rules.samples * rules.positives + 1e-6))
    return torch.cat([positive, _some(negative, rules.samples - len(positive))])


def _some(indices: Tensor, count: int) -> Tensor:
    return indices[torch.randperm(len(indices), device=indices.device)[:count]]


def _centerness_of(anchors: Tensor, boxes: Tensor, match: Tensor) -> Tensor:
    return torch.where(match >= 0, centerness(anchors, _boxes_of(boxes, match)), 0.0)


def _boxes_of(boxes: Tensor, match: Tensor) -> Tensor:
    """``(A, 4)``: the matched box of each anchor, zeros where there is none."""
    padded = torch.cat([boxes, boxes.new_zeros(1, 4)])
    return padded[torch.where(match >= 0, match, len(boxes))]


def stack_targets(targets: Sequence[AnchorTargets]) -> AnchorTargets:
    """Targets of several images: ``(N, A)``, ``(N, A, 4)``, ``(N, A)``."""
    return AnchorTargets(
        torch.stack([t.scores for t in targets]),
        torch.stack([t.boxes for t in targets]),
        torch.stack([t.has_box for t in targets]),
    )
