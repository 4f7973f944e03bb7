"""From tracks with masks to the rows of a timeline, predictions beside the ground truth they match."""

from collections.abc import Sequence

from dense.structures import RLE, Track
from dense.structures.rle import area
from dense.visualization.report import TrackRow

__all__ = ["paired_rows", "track_rows", "video_iou"]


def track_rows(tracks: Sequence[Track], categories: Sequence[str], *, min_score: float = 0.3) -> list[TrackRow]:
    """Rows for a video without ground truth: tracks of at least ``min_score`` (in [0, 1])."""
    return [_row(track, categories) for track in tracks if track.score >= min_score]


def paired_rows(
    ground_truth: Sequence[Track], predictions: Sequence[Track], categories: Sequence[str], *, min_score: float = 0.3
) -> list[TrackRow]:
    """Ground truth rows, and prediction rows with the ground truth they match.

    Matching is for the eye, not the evaluator's: best score first, each prediction takes the free ground truth of its own label
    with the highest video IoU, if that is above 0.1. Rows keep their own track's colour, which is the one in the pictures.

    Args:
        ground_truth: one mask or ``None`` per frame each; scores are not read.
        predictions: likewise, over the same frames.
        categories: name of each label.
        min_score: predictions below it, in [0, 1], are left out.
    """
    rows = [_row(track, categories, ground_truth=True) for track in ground_truth]
    free = list(ground_truth)
    for track in sorted(predictions, key=lambda track: -track.score):
        if track.score < min_score:
            continue
        rivals = [(video_iou(other.masks, track.masks), other) for other in free if other.label == track.label]
        iou, best = max(rivals, key=lambda pair: pair[0], default=(0.0, None))
        if best is None or iou <= 0.1:
            rows.append(_row(track, categories))
            continue
        free = [other for other in free if other is not best]
        rows.append(_row(track, categories, iou=iou, match=best.track_id))
    return rows


def video_iou(one: Sequence[RLE | None], other: Sequence[RLE | None]) -> float:
    """Summed intersection over summed union of two tracks over the same frames, in [0, 1]; 0 where both are empty."""
    from pycocotools import mask as coco_mask

    shared = total = 0
    for a, b in zip(one, other, strict=True):
        both = int(coco_mask.area(coco_mask.merge([a, b], intersect=True))) if a is not None and b is not None else 0
        shared += both
        total += sum(area(mask) for mask in (a, b) if mask is not None) - both
    return shared / total if total else 0.0


def _row(
    track: Track, categories: Sequence[str], *, ground_truth: bool = False, iou: float | None = None, match: int | None = None
) -> TrackRow:
    seen = [mask is not None and area(mask) > 0 for mask in track.masks]
    label = categories[track.label] if 0 <= track.label < len(categories) else f"category {track.label}"
    score = None if ground_truth else track.score
    return TrackRow(track.track_id, label, score, seen, ground_truth=ground_truth, iou=iou, match=match)
