"""How predicted and annotated tracks of one video overlap, over all frames and frame by frame, computed once.

Letters: D predicted and G annotated tracks, T frames. Frame by frame only the best object is kept, so memory is
``D·G + (D + G)·T`` numbers for one video at a time, never ``D·G·T``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from dense.evaluation.tube_iou import Masks, frame_intersections, tube_areas

__all__ = ["FOLLOWED_IOU", "SHORTEST_STAY", "VideoOverlaps", "frame_overlaps", "measure_overlaps", "stays"]

FOLLOWED_IOU = 0.5  # a mask lies on an object from this IoU in the frame; two disjoint objects cannot both reach more
SHORTEST_STAY = 2  # frames; one alone may be an accident where two objects cross

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class VideoOverlaps:
    """Overlaps in one video.

    Attributes:
        tube: ``(D, G)`` spatio-temporal IoU.
        present: ``(D, G)`` the same over only those frames in which the prediction has a mask.
        followed: ``(D, T)`` object of highest IoU in the frame, -1 where none reaches ``FOLLOWED_IOU``; never a crowd.
        predicted_areas: ``(D, T)`` pixels.
        annotated_areas: ``(G, T)`` pixels.
    """

    tube: Floats
    present: Floats
    followed: NDArray[np.int64]
    predicted_areas: NDArray[np.int64]
    annotated_areas: NDArray[np.int64]


def measure_overlaps(
    predicted: Sequence[Masks], annotated: Sequence[Masks], crowd: NDArray[np.bool_], num_frames: int
) -> VideoOverlaps:
    """Overlaps of all predicted with all annotated tracks of one video, whatever their categories.

    Args:
        predicted: D tracks of T masks (``None`` = absent), all of one size.
        annotated: G tracks of T masks.
        crowd: ``(G,)`` groups of objects.
        num_frames: T.
    """
    predicted_areas, annotated_areas = tube_areas(predicted, num_frames), tube_areas(annotated, num_frames)
    shared = np.zeros((len(predicted), len(annotated)), np.int64)
    followed = np.full(predicted_areas.shape, -1, np.int64)
    for t, rows, columns, counts in frame_intersections(predicted, annotated, predicted_areas, annotated_areas):
        shared[np.ix_(rows, columns)] += counts
        unions = predicted_areas[rows, t][:, None] + annotated_areas[columns, t] - counts
        ratios = np.where(crowd[columns], 0.0, counts / unions)  # (D', G')
        best = ratios.argmax(axis=1)
        reached = ratios[np.arange(len(rows)), best] >= FOLLOWED_IOU
        followed[rows, t] = np.where(reached, np.array(columns)[best], -1)
    own = predicted_areas.sum(1)[:, None]
    exists = (predicted_areas > 0).astype(np.int64)
    return VideoOverlaps(
        tube=shared / np.maximum(own + annotated_areas.sum(1) - shared, 1),
        present=shared / np.maximum(own + exists @ annotated_areas.T - shared, 1),
        followed=followed,
        predicted_areas=predicted_areas,
        annotated_areas=annotated_areas,
    )


def stays(followed: NDArray[np.int64]) -> list[tuple[int, NDArray[np.int64]]]:
    """Objects that a track follows in turn, each with the frames: ``(object, frames)``.

    Frames without an object do not end a stay. A run of fewer than ``SHORTEST_STAY`` followed frames is passed over, and what
    it parted is joined.

    Args:
        followed: ``(T,)`` object in each frame, -1 = none.
    """
    frames = np.flatnonzero(followed >= 0)
    runs = [(g, np.array(list(run))) for g, run in groupby(frames.tolist(), key=lambda t: int(followed[t]))]
    long = [run for run in runs if len(run[1]) >= SHORTEST_STAY]
    return [(g, np.concatenate([run[1] for run in parts])) for g, parts in groupby(long, key=lambda run: run[0])]


def frame_overlaps(
    one: Masks, other: Masks, one_areas: NDArray[np.int64], other_areas: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Intersection and union of two tracks in each frame, two ``(T,)`` in pixels, from their masks and ``(T,)`` areas."""
    shared = np.zeros(len(one_areas), np.int64)
    for t, _, _, counts in frame_intersections([one], [other], one_areas[None], other_areas[None]):
        shared[t] = counts[0, 0]
    return shared, one_areas + other_areas - shared
