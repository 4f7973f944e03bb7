"""From the proposal head's maps to regions: decode, clip, best of each level, suppress, best of all levels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dense.projects.dito.boxes import clip_boxes, decode_distances, suppress
from dense.projects.dito.labeling import make_anchors
from dense.projects.dito.pyramid import LEVELS

__all__ = ["AnchorPredictions", "ProposalRules", "Proposals", "predictions_of", "propose"]


@dataclass(frozen=True)
class ProposalRules:
    """How many proposals there are.

    Attributes:
        before: best of each level before suppression.
        after: best of each level after it, and of all levels together.
        overlap: boxes that overlap a better one by this or more go; 1 = only duplicates.
    """

    before: int = 2000
    after: int = 1000
    overlap: float = 0.7


@dataclass(frozen=True)
class Proposals:
    """Regions of one image, best first: ``boxes`` ``(K, 4)`` in pixels, ``scores`` ``(K,)`` in [0, 1]."""

    boxes: Tensor
    scores: Tensor


@dataclass(frozen=True)
class AnchorPredictions:
    """What the proposal head says at each of the A anchors of all levels.

    Attributes:
        anchors: ``(A, 4)``.
        logits: ``(N, A)`` of the centerness.
        boxes: ``(N, A, 4)`` decoded and clipped.
        levels: anchors of each level.
    """

    anchors: Tensor
    logits: Tensor
    boxes: Tensor
    levels: tuple[int, ...]


def predictions_of(
    logits: Mapping[str, Tensor], distances: Mapping[str, Tensor], size: tuple[int, int], scale: float
) -> AnchorPredictions:
    """Decode the head's maps.

    Args:
        logits: level → ``(N, 1, h, w)``.
        distances: level → ``(N, 4, h, w)``: left, right, top, bottom.
        size: (H, W) of the canvas in pixels, which clips the boxes.
        scale: side of an anchor in strides.
    """
    anchors = {name: make_anchors(m.shape[-2], m.shape[-1], LEVELS[name], scale, m.device) for name, m in logits.items()}
    joined = torch.cat(list(anchors.values()))
    maps = torch.cat([distances[name].flatten(2).mT for name in logits], dim=1).float()  # (N, A, 4)
    return AnchorPredictions(
        anchors=joined,
        logits=torch.cat([m.flatten(1) for m in logits.values()], dim=1).float(),
        boxes=clip_boxes(decode_distances(maps, joined), size),
        levels=tuple(len(a) for a in anchors.values()),
    )


@torch.no_grad()
def propose(predictions: AnchorPredictions, rules: ProposalRules) -> list[Proposals]:
    """The proposals of each image; nothing flows back through them."""
    scores = predictions.logits.sigmoid()
    return [
        _of_image(boxes.split(predictions.levels), score.split(predictions.levels), rules)
        for boxes, score in zip(predictions.boxes, scores, strict=True)
    ]


def _of_image(boxes: Sequence[Tensor], scores: Sequence[Tensor], rules: ProposalRules) -> Proposals:
    levels = [_of_level(b, s, rules) for b, s in zip(boxes, scores, strict=True)]
    joined, score = torch.cat([b for b, _ in levels]), torch.cat([s for _, s in levels])
    score, order = score.sort(descending=True, stable=True)
    return Proposals(joined[order[: rules.after]], score[: rules.after])


def _of_level(boxes: Tensor, scores: Tensor, rules: ProposalRules) -> tuple[Tensor, Tensor]:
    scores, order = scores.sort(descending=True, stable=True)
    boxes, scores = boxes[order[: rules.before]], scores[: rules.before]
    kept = suppress(boxes, scores, rules.overlap, rules.after)
    return boxes[kept], scores[kept]
