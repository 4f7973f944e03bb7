"""COCO's average precision protocol: greedy matching in one scene, then precision at 101 recall points over all scenes.

A scene is one (image or video, category) pair. Letters: D detections and G objects of a scene, A area ranges, T IoU
thresholds, R recall points, M limits on the number of detections. Unlike the widely used library nothing is looked up by
annotation id, so an object with id 0 counts like any other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Protocol", "SceneMatches", "match_scene", "precision_recall"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Protocol:
    """Numbers of the protocol.

    Attributes:
        iou_thresholds: T values; a match needs at least this IoU.
        recall_points: R values in [0, 1] at which precision is read.
        limits: M numbers of best detections kept per scene, ascending.
        area_ranges: A (smallest, largest) areas in pixels, both inclusive; the first must hold everything.
    """

    iou_thresholds: Floats = field(default_factory=lambda: np.linspace(0.5, 0.95, 10))
    recall_points: Floats = field(default_factory=lambda: np.linspace(0.0, 1.0, 101))
    limits: tuple[int, ...] = (1, 10, 100)
    area_ranges: tuple[tuple[float, float], ...] = ((0, 1e10),)


@dataclass(frozen=True)
class SceneMatches:
    """What matching found in one scene; detections are sorted by falling score.

    Attributes:
        scores: ``(D,)``.
        matched: ``(A, T, D)``, True if the detection found an object.
        ignored: ``(A, T, D)``, True if the detection counts neither as right nor as wrong.
        objects: ``(A, T, D)`` position of the object found, -1 where ``matched`` is False.
        num_objects: ``(A,)`` objects to be found.
    """

    scores: Floats
    matched: Bools
    ignored: Bools
    objects: NDArray[np.int64]
    num_objects: NDArray[np.int64]


def match_scene(
    scores: Floats, areas: Floats, iou: Floats, object_areas: Floats, crowd: Bools, protocol: Protocol
) -> SceneMatches:
    """Match the detections of one scene, best score first, each to the free object of highest IoU.

    Objects that are crowds, or outside the area range, are only taken by a detection that reaches no other object; the
    detection is then ignored. A crowd can be taken any number of times. Of objects with equal IoU the last one is taken.

    Args:
        scores: ``(D,)``, falling.
        areas: ``(D,)`` in pixels.
        iou: ``(D, G)``.
        object_areas: ``(G,)`` in pixels.
        crowd: ``(G,)``.
        protocol: thresholds and ranges.
    """
    thresholds = np.minimum(protocol.iou_thresholds, 1 - 1e-10)
    ignorable = crowd | _outside(object_areas, protocol)  # (A, G)
    shape = (len(protocol.area_ranges), len(thresholds), len(scores))
    matched, ignored, objects = np.zeros(shape, bool), np.zeros(shape, bool), np.full(shape, -1, np.int64)
    free = np.ones((*shape[:2], len(crowd)), bool)
    for d in np.flatnonzero((iou >= thresholds.min()).any(axis=1)):
        reached = (iou[d] >= thresholds[:, None]) & (free | crowd)  # (A, T, G)
        wanted = reached & ~ignorable[:, None]
        wanted = np.where(wanted.any(axis=2, keepdims=True), wanted, reached)
        best = len(crowd) - 1 - np.argmax(np.where(wanted, iou[d], -1.0)[..., ::-1], axis=2)  # (A, T)
        matched[..., d] = reached.any(axis=2)
        ignored[..., d] = matched[..., d] & np.take_along_axis(ignorable, best, axis=1)
        a, t = np.nonzero(matched[..., d])
        free[a, t, best[a, t]] = False
        objects[a, t, d] = best[a, t]
    ignored |= ~matched & _outside(areas, protocol)[:, None]
    return SceneMatches(scores, matched, ignored, objects, (~ignorable).sum(axis=1))


def _outside(areas: Floats, protocol: Protocol) -> Bools:
    smallest, largest = np.array(protocol.area_ranges, float).T[..., None]
    return (areas < smallest) | (areas > largest)  # type: ignore[no-any-return]  # (A, N)


def precision_recall(scenes: Sequence[SceneMatches], protocol: Protocol) -> tuple[Floats, Floats]:
    """Precision and recall of one category over all its scenes.

    Args:
        scenes: in a fixed order; it decides between equal scores.
        protocol: as in ``match_scene``.

    Returns: precision ``(T, R, A, M)`` and highest recall ``(T, A, M)``, NaN in area ranges without any object.
    """
    counts = (len(protocol.iou_thresholds), len(protocol.recall_points), len(protocol.area_ranges), len(protocol.limits))
    precision, recall = np.full(counts, np.nan), np.full((counts[0], *counts[2:]), np.nan)
    num_objects = sum((scene.num_objects for scene in scenes), np.zeros(counts[2], np.int64))
    if not num_objects.any():
        return precision, recall
    for m, limit in enumerate(protocol.limits):
        scores = np.concatenate([scene.scores[:limit] for scene in scenes])
        order = np.argsort(-scores, kind="stable")
        matched, ignored = (
            np.concatenate([getattr(scene, name)[..., :limit] for scene in scenes], axis=2)[..., order]
            for name in ("matched", "ignored")
        )  # (A, T, D)
        right = np.cumsum(matched & ~ignored, axis=2)
        wrong = np.cumsum(~matched & ~ignored, axis=2)
        for a in np.flatnonzero(num_objects):
            for t in range(counts[0]):
                curve = _curve(right[a, t], wrong[a, t], int(num_objects[a]), protocol.recall_points)
                precision[t, :, a, m], recall[t, a, m] = curve
    return precision, recall


def _curve(right: NDArray[np.int64], wrong: NDArray[np.int64], num_objects: int, recall_points: Floats) -> tuple[Floats, float]:
    """Precision at each recall point (0 where it is not reached) and the highest recall, from running counts ``(D,)``."""
    values = np.zeros(len(recall_points))
    if not len(right):
        return values, 0.0
    recall = right / num_objects
    precision = right / np.maximum(right + wrong, 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]  # best precision at this recall or a higher one
    position = np.searchsorted(recall, recall_points, side="left")
    reached = position < len(recall)
    values[reached] = precision[position[reached]]
    return values, float(recall[-1])
