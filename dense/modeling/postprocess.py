"""From query predictions to results: resize, then semantic, instance or panoptic maps (Mask2Former, §4; MaskFormer, §3.4)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "Instances",
    "PanopticSegment",
    "instance_result",
    "panoptic_result",
    "panoptic_segments",
    "resize_masks",
    "semantic_result",
    "top_pairs",
]


@dataclass(frozen=True)
class Instances:
    """Objects of an image: ``scores`` ``(N,)`` in [0, 1], ``labels`` ``(N,)``, ``masks`` ``(N, H, W)`` bool."""

    scores: Tensor
    labels: Tensor
    masks: Tensor


@dataclass(frozen=True)
class PanopticSegment:
    """One segment of a panoptic map: its ``id`` there (from 1), whether it is a thing, its contiguous category."""

    id: int
    isthing: bool
    category_id: int


def resize_masks(masks: Tensor, padded: tuple[int, int], unpadded: tuple[int, int], output: tuple[int, int]) -> Tensor:
    """Mask logits at stride 4 → the output size, as logits: up to the padded input, crop, on to the output.

    Args:
        masks: ``(Q, T, h, w)`` or ``(Q, h, w)``.
        padded: (height, width) of the network's input.
        unpadded: (height, width) of the image inside it.
        output: (height, width) asked for.

    Returns: the same leading axes, at the output size.
    """
    squeeze = masks.dim() == 3
    x = masks[:, None] if squeeze else masks
    x = F.interpolate(x, size=padded, mode="bilinear", align_corners=False)[..., : unpadded[0], : unpadded[1]]
    x = F.interpolate(x, size=output, mode="bilinear", align_corners=False)
    return x[:, 0] if squeeze else x


def top_pairs(probabilities: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The best (query, class) pairs; one query may appear with several classes.

    Args:
        probabilities: ``(Q, K)`` without the no-object column.
        count: how many at most.

    Returns: scores, queries, labels, each ``(min(count, Q·K),)``, best first.
    """
    classes = probabilities.shape[1]
    scores, index = probabilities.flatten().topk(min(count, probabilities.numel()))
    return scores, index // classes, index % classes


def semantic_result(logits: Tensor, masks: Tensor) -> Tensor:
    """Class scores per pixel: ``(Q, K+1)``, ``(Q, H, W)`` logits → ``(K, H, W)``."""
    return torch.einsum("qk,qhw->khw", logits.softmax(-1)[:, :-1], masks.sigmoid())


def instance_result(
    logits: Tensor,
    masks: Tensor,
    count: int,
    things: set[int] | None = None,
    resize: Callable[[Tensor], Tensor] | None = None,
) -> Instances:
    """Objects: class score times the mean probability inside the mask.

    Each query that is kept is resized and rated once, one after the other: probabilities of all (query, class) pairs of a
    large photo at once would take gigabytes.

    Args:
        logits: ``(Q, K+1)``.
        masks: ``(Q, h, w)`` logits.
        count: how many (query, class) pairs are taken.
        things: categories to keep; ``None`` = all.
        resize: ``(n, h, w)`` logits → ``(n, H, W)`` logits at the output size; ``None`` = they are at it.

    Returns: at most ``count`` objects, in the order of their class scores.
    """
    scores, query, label = top_pairs(logits.softmax(-1)[:, :-1], count)
    if things is not None:
        kept = torch.isin(label, torch.tensor(sorted(things), dtype=label.dtype, device=label.device))
        scores, query, label = scores[kept], query[kept], label[kept]
    output = masks[:0] if resize is None else resize(masks[:0])
    inside = masks.new_zeros((len(query), *output.shape[1:]), dtype=torch.bool)
    quality = torch.zeros_like(scores)
    for q in query.unique().tolist():
        mask = masks[q : q + 1] if resize is None else resize(masks[q : q + 1])
        covered, pairs = mask > 0, query == q
        inside[pairs] = covered
        quality[pairs] = (mask.sigmoid() * covered).sum() / (covered.sum() + 1e-6)
    return Instances(scores * quality, label, inside)


def panoptic_result(
    logits: Tensor, masks: Tensor, things: set[int], *, object_threshold: float, overlap_threshold: float
) -> tuple[Tensor, list[PanopticSegment]]:
    """Panoptic map: every pixel goes to the query with the best score times probability.

    Args:
        logits: ``(Q, K+1)``.
        masks: ``(Q, H, W)`` logits.
        things: thing categories; segments of the others are merged by category.
        object_threshold: least score of a query.
        overlap_threshold: least share of a query's own mask that it must win.

    Returns: ``(H, W)`` int32 segment ids (0 = none) and the segments.
    """
    scores, labels = logits.softmax(-1).max(-1)
    keep = (labels != logits.shape[-1] - 1) & (scores > object_threshold)
    if not keep.any():
        return torch.zeros(masks.shape[-2:], dtype=torch.int32, device=masks.device), []
    frames = [masks[keep].sigmoid()]
    segment_map, segments, _ = panoptic_segments(frames, scores[keep], labels[keep], things, overlap_threshold)
    return segment_map[0], segments


def panoptic_segments(
    frames: Iterable[Tensor], scores: Tensor, labels: Tensor, things: set[int] | frozenset[int], overlap_threshold: float
) -> tuple[Tensor, list[PanopticSegment], list[int]]:
    """Segments of an image or, one frame at a time, of a video; areas are counted over all frames.

    Args:
        frames: mask probabilities ``(N, H, W)`` of each frame.
        scores: of the N ≥ 1 queries, ``(N,)``.
        labels: their classes, ``(N,)``.
        things: classes with instances; segments of the others are merged by class.
        overlap_threshold: least share of a query's own mask that it must win.

    Returns: segment ids ``(T, H, W)`` int32 (0 = none), the segments, and which of the N each one is from.
    """
    area, original, common = (torch.zeros(len(labels), dtype=torch.int64, device=labels.device) for _ in range(3))
    owners = []
    for probability in frames:
        own = probability >= 0.5
        winner = (scores[:, None, None] * probability).argmax(0)
        inside = own.gather(0, winner[None])[0]
        owner = torch.where(inside, winner, len(labels))  # the query whose region this pixel is, else N
        area += winner.flatten().bincount(minlength=len(labels))
        original += own.flatten(1).sum(1)
        common += owner.flatten().bincount(minlength=len(labels) + 1)[:-1]
        owners.append(owner.to(torch.int16))
    numbers = [0] * (len(labels) + 1)
    segments: list[PanopticSegment] = []
    queries: list[int] = []
    stuff: dict[int, int] = {}
    counts = zip(labels.tolist(), area.tolist(), original.tolist(), common.tolist(), strict=True)
    for k, (label, won, whole, region) in enumerate(counts):
        if not region or won / whole < overlap_threshold:
            continue
        if label not in things and label in stuff:
            numbers[k] = stuff[label]
            continue
        segments.append(PanopticSegment(len(segments) + 1, label in things, label))
        queries.append(k)
        numbers[k] = segments[-1].id
        if label not in things:
            stuff[label] = segments[-1].id
    table = torch.tensor(numbers, dtype=torch.int32, device=labels.device)
    return torch.stack([table[owner.long()] for owner in owners]), segments, queries
