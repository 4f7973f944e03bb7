"""One kind for each wrong prediction and each object not found, after TIDE (Bolya et al., arXiv:2008.08115, section 2).

Tracks replace boxes, as in TIVE (arXiv:2210.08856); the temporal kinds and their tests are our own.

Let ``t`` be the threshold of a find and ``b`` that of the background. For a prediction ``d`` and an object ``g`` (no crowd)::

    tube(d, g)       = sum over all frames |d ∩ g| / sum over all frames |d ∪ g|         what the evaluator matches by
    present(d, g)    = the same sums over the frames in which d has a mask
    on(d, g)         = the same sums over those of them in which d does not stay with another object
    follows(d, f)    = the object of highest mask IoU in frame f, if that is at least 0.5
    stay             = at least two followed frames in a row on one object (frames that follow nothing are passed over)

The evaluator's matching at ``t`` says which predictions are right (matched), ignored (on a crowd) or wrong, and which objects
are found. Only predictions that are scored count: the 100 best of a category in a video. A wrong prediction is, in this order,

1. **duplicate**: ``tube(d, g) ≥ t`` with a ``g`` of its category (which a better track has found);
2. **classification**: ``tube(d, g) ≥ t`` with a ``g`` of another category;
3. **identity switch**: it stays with two or more objects, and ``on(d, g) ≥ t`` for one of its category among them: good
   where it is on ``g``, spoilt by being elsewhere;
4. if ``present(d, g) ≥ t`` with a ``g`` of its category: **fragment**, if another track of that category covers ``g`` in turn
   (both follow ``g`` for two frames or more, and at most a quarter of the shorter one's frames are common; if ``g`` is found,
   it is that track that found it); else **duplicate**, if ``g`` is found; else **late start / early end**;
5. **mask**: ``tube(d, g) ≥ b`` with a ``g`` of its category (masks in frames without the object count as wrong pixels);
6. **false alarm**: the rest; TIDE's "background" and "both".

An object that was not found is **missed** if no error of the kinds 2 to 5 (duplicates apart) concerns it. So every wrong
prediction has exactly one kind, and an object is missed or the concern of other errors, never both.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dense.evaluation.tube_iou import Masks
from dense.evaluation.video_overlaps import SHORTEST_STAY, VideoOverlaps, frame_overlaps, stays

__all__ = ["COVERING", "SortedError", "VideoCase", "sort_errors"]

COVERING = ("classification", "identity switch", "fragment", "late start / early end", "mask")
"""Kinds that explain why their object was not found."""

_MOST_COMMON = 0.25  # of the shorter track's frames: more, and the two are not one after the other
_FOUND_AT_MOST = 1 - 1e-10  # as the evaluator: IoU 1 must reach a threshold of 1


@dataclass(frozen=True)
class VideoCase:
    """One video, matched.

    Attributes:
        predicted: D tracks of T masks.
        annotated: G tracks of T masks.
        predicted_categories: ``(D,)``.
        annotated_categories: ``(G,)``.
        crowd: ``(G,)``.
        found: ``(D,)`` the object each prediction is matched with, -1 if none.
        ignored: ``(D,)`` matched with a crowd.
        overlaps: of all with all.
    """

    predicted: Sequence[Masks]
    annotated: Sequence[Masks]
    predicted_categories: NDArray[np.int64]
    annotated_categories: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    found: NDArray[np.int64]
    ignored: NDArray[np.bool_]
    overlaps: VideoOverlaps

    @property
    def free(self) -> NDArray[np.bool_]:
        """``(G,)`` objects to be found that no prediction found."""
        free = ~self.crowd
        free[self.found[self.found >= 0]] = False
        return free


@dataclass(frozen=True)
class SortedError:
    """One error in positions of its ``VideoCase``: ``prediction`` is -1 for a missed object, ``target`` -1 without an object.

    ``partners`` are the other tracks involved: who found the object, or the other fragments.
    """

    kind: str
    prediction: int
    target: int
    partners: tuple[int, ...] = ()


def sort_errors(case: VideoCase, iou: float, background: float) -> list[SortedError]:
    """The errors of one video: wrong predictions in their order, then missed objects.

    Args:
        case: the video.
        iou: ``t`` in (0, 1].
        background: ``b`` in [0, ``t``].
    """
    sorter = _Sorter(case, min(iou, _FOUND_AT_MOST), background)
    errors = [sorter.sort(int(d)) for d in np.flatnonzero((case.found < 0) & ~case.ignored)]
    missed = case.free
    missed[[error.target for error in errors if error.kind in COVERING]] = False
    return [*errors, *(SortedError("missed", -1, int(g)) for g in np.flatnonzero(missed))]


class _Sorter:
    """The tests of the module's docstring, in their order, for one video."""

    def __init__(self, case: VideoCase, iou: float, background: float) -> None:
        self.case, self.iou, self.background = case, iou, background
        self.finder = {int(g): d for d, g in enumerate(case.found.tolist()) if g >= 0}
        self.free = case.free

    def sort(self, d: int) -> SortedError:
        """The kind of one wrong prediction."""
        case, tube = self.case, self.case.overlaps.tube[d]
        own = (case.annotated_categories == case.predicted_categories[d]) & ~case.crowd
        other = ~own & ~case.crowd
        if (g := _best(tube, own & (tube >= self.iou))) >= 0:
            return SortedError("duplicate", d, g, self._finders(g))
        if (g := _best(tube, other & (tube >= self.iou))) >= 0:
            return SortedError("classification", d, g)
        if (g := self._switching(d, own)) >= 0:
            return SortedError("identity switch", d, g)
        present = case.overlaps.present[d]
        if (g := _best(tube, own & (present >= self.iou))) >= 0:
            return self._partial(d, g)
        if (g := _best(tube, own & (tube >= self.background) & (tube > 0))) >= 0:
            return SortedError("mask", d, g)
        return SortedError("false alarm", d, _best(tube, (own | other) & (tube > 0)))

    def _switching(self, d: int, own: NDArray[np.bool_]) -> int:
        """The object that a switching track would be right about: a free one first, then by number of frames; -1 if none."""
        visits = stays(self.case.overlaps.followed[d])
        frames = {g: np.concatenate([f for other, f in visits if other == g]) for g, _ in visits}
        if len(frames) < 2:
            return -1
        good = [g for g in frames if own[g] and self._on(d, g, frames) >= self.iou]
        return max(good, key=lambda g: (self.free[g], len(frames[g])), default=-1)

    def _on(self, d: int, g: int, frames: dict[int, NDArray[np.int64]]) -> float:
        case, areas = self.case, self.case.overlaps
        shared, union = frame_overlaps(case.predicted[d], case.annotated[g], areas.predicted_areas[d], areas.annotated_areas[g])
        counted = areas.predicted_areas[d] > 0
        for other, elsewhere in frames.items():
            if other != g:
                counted[elsewhere] = False
        return float(shared[counted].sum() / max(union[counted].sum(), 1))

    def _partial(self, d: int, g: int) -> SortedError:
        """A track that is good where it exists, but too short."""
        followed = self.case.overlaps.followed == g  # (D, T)
        counts, common = followed.sum(1), (followed & followed[d]).sum(1)
        alike = self.case.predicted_categories == self.case.predicted_categories[d]
        turns = alike & (counts >= SHORTEST_STAY) & (common <= _MOST_COMMON * np.minimum(counts, counts[d]))
        if g in self.finder:
            turns &= np.arange(len(counts)) == self.finder[g]
        if counts[d] >= SHORTEST_STAY and turns.any():
            return SortedError("fragment", d, g, tuple(np.flatnonzero(turns).tolist()))
        if g in self.finder:
            return SortedError("duplicate", d, g, self._finders(g))
        return SortedError("late start / early end", d, g)

    def _finders(self, g: int) -> tuple[int, ...]:
        return (self.finder[g],) if g in self.finder else ()


def _best(values: NDArray[np.float64], allowed: NDArray[np.bool_]) -> int:
    """Position of the highest allowed value, -1 if none is allowed."""
    return int(np.where(allowed, values, -1.0).argmax()) if allowed.any() else -1
