"""Spatio-temporal IoU of object tracks: intersections over unions, each summed over the frames of the video.

Frames are counted one by one and summed in 64 bits. Joining the frames to one long RLE and calling the COCO library once would
be shorter, but that library counts in 32 bits: 1080p video overflows silently after 2,071 frames.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from dense.structures.rle import RLE

__all__ = ["frame_intersections", "mean_visible_area", "tube_areas", "tube_iou"]

Masks = Sequence[RLE | None]
_MOST_MASKS = 255  # `area` of pycocotools 2.0 counts the masks it is given in 8 bits


def tube_areas(tracks: Sequence[Masks], num_frames: int) -> NDArray[np.int64]:
    """Pixels of each track in each frame, ``(N, T)``; 0 where a mask is missing."""
    areas = np.zeros((len(tracks), num_frames), np.int64)
    for row, masks in enumerate(tracks):
        visible = [t for t, mask in enumerate(masks) if mask is not None]
        for start in range(0, len(visible), _MOST_MASKS):
            some = visible[start : start + _MOST_MASKS]
            areas[row, some] = coco_mask.area([masks[t] for t in some])
    return areas


def mean_visible_area(areas: Sequence[float | None] | NDArray[Any]) -> float:
    """Mean of the frames' areas in pixels without the frames where it is 0 or ``None``; 0 if nothing is left."""
    visible = [float(a) for a in areas if a]
    return sum(visible) / len(visible) if visible else 0.0


def tube_iou(predicted: Sequence[Masks], annotated: Sequence[Masks], num_frames: int) -> NDArray[np.float64]:
    """IoU of each predicted with each annotated track of one video.

    Args:
        predicted: D tracks of T masks (``None`` = absent), all of one size.
        annotated: G tracks of T masks.
        num_frames: T.

    Returns: ``(D, G)`` in [0, 1]; 0 where both tracks are empty.
    """
    predicted_areas = tube_areas(predicted, num_frames)
    annotated_areas = tube_areas(annotated, num_frames)
    intersections = np.zeros((len(predicted), len(annotated)), np.int64)
    for _, rows, columns, counts in frame_intersections(predicted, annotated, predicted_areas, annotated_areas):
        intersections[np.ix_(rows, columns)] += counts
    unions = predicted_areas.sum(1)[:, None] + annotated_areas.sum(1) - intersections
    return intersections / np.maximum(unions, 1)


def frame_intersections(
    predicted: Sequence[Masks],
    annotated: Sequence[Masks],
    predicted_areas: NDArray[np.int64],
    annotated_areas: NDArray[np.int64],
) -> Iterator[tuple[int, list[int], list[int], NDArray[np.int64]]]:
    """Shared pixels, frame by frame, of the tracks that are there.

    Args:
        predicted: D tracks of T masks.
        annotated: G tracks of T masks.
        predicted_areas: ``(D, T)`` of ``tube_areas``.
        annotated_areas: ``(G, T)``.

    Yields: frame t, the D' predicted and the G' annotated tracks with a mask in it, and ``(D', G')`` pixels; frames where
    either side is empty are left out.
    """
    for t in range(predicted_areas.shape[1]):
        rows = np.flatnonzero(predicted_areas[:, t]).tolist()
        columns = np.flatnonzero(annotated_areas[:, t]).tolist()
        if rows and columns:
            ratios = coco_mask.iou([predicted[d][t] for d in rows], [annotated[g][t] for g in columns], [0] * len(columns))
            sums = predicted_areas[rows, t][:, None] + annotated_areas[columns, t]  # (D', G')
            # The library gives i / (a + b - i) in double precision; solved for i and rounded, the count is exact.
            yield t, rows, columns, np.rint(ratios * sums / (1 + ratios)).astype(np.int64)
