"""From sorted errors to what shows them: ids as in the files, frames concerned, up to four that tell it best, a sentence."""

from collections.abc import Sequence
from itertools import groupby, pairwise

import numpy as np
from numpy.typing import NDArray

from dense.data.formats.category_table import CategoryTable
from dense.data.formats.video_results import ResultRecord
from dense.data.formats.youtube_vis import VideoRecord
from dense.evaluation.error_kinds import Stay, TrackHistory, VideoError
from dense.evaluation.error_sorting import SortedError, VideoCase
from dense.evaluation.video_overlaps import VideoOverlaps, frame_overlaps, stays

__all__ = ["describe", "history"]

_MOST_SHOWN = 4
Frames = NDArray[np.int64]


def describe(
    error: SortedError,
    case: VideoCase,
    video: VideoRecord,
    indices: Sequence[int],
    records: Sequence[ResultRecord],
    categories: CategoryTable,
    iou: float,
) -> VideoError:
    """One error with evidence.

    Args:
        error: positions refer to ``case``.
        case: the video's overlaps.
        video: the same video's annotations.
        indices: position in ``records`` of each prediction of ``case``.
        records: all predictions.
        categories: names.
        iou: threshold of a find; masks below it in a frame count as poor.
    """
    d, g = error.prediction, error.target
    frames, shown = _frames(error, case, iou)
    objects = [g] if g >= 0 else []
    if error.kind == "identity switch":
        objects += dict.fromkeys(o for o, _ in stays(case.overlaps.followed[d]) if o != g)
    names = {category.id: category.name for category in categories.categories}
    return VideoError(
        kind=error.kind,
        video_id=video.id,
        predictions=tuple(indices[i] for i in (d, *error.partners) if i >= 0),
        object_ids=tuple(video.tracks[o].id for o in objects),
        frames=tuple(frames.tolist()),
        shown=tuple(sorted(set(shown.tolist()))),
        score=None if d < 0 else records[indices[d]].score,
        iou=None if d < 0 or g < 0 else float(case.overlaps.tube[d, g]),
        detail=_sentence(error, case, names, frames, [track.id for track in video.tracks]),
    )


def history(case: VideoCase, video: VideoRecord, indices: Sequence[int]) -> list[TrackHistory]:
    """What each prediction of ``case`` follows, in its order."""
    ids = [track.id for track in video.tracks]
    found = []
    for d, index in enumerate(indices):
        own = np.where(case.annotated_categories == case.predicted_categories[d], case.overlaps.tube[d], 0.0)
        g = int(case.found[d])
        found.append(
            TrackHistory(
                prediction=index,
                video_id=video.id,
                object_id=ids[g] if g >= 0 else None,
                iou=float(case.overlaps.tube[d, g] if g >= 0 else own.max(initial=0.0)),
                ignored=bool(case.ignored[d]),
                follows=tuple(ids[o] if o >= 0 else None for o in case.overlaps.followed[d].tolist()),
                stays=tuple(Stay(ids[o], int(f[0]), int(f[-1])) for o, f in stays(case.overlaps.followed[d])),
            )
        )
    return found


def _frames(error: SortedError, case: VideoCase, iou: float) -> tuple[Frames, Frames]:
    """All frames that show the error, and which to show."""
    d, g, areas = error.prediction, error.target, case.overlaps
    if error.kind == "missed":
        visible = np.flatnonzero(areas.annotated_areas[g])
        return visible, _spread(visible)
    exists = areas.predicted_areas[d] > 0
    if error.kind == "identity switch":
        visits = [frames for _, frames in stays(areas.followed[d])]
        changes = np.array([frames[0] for frames in visits[1:]])
        around = [(before[-1], after[0]) for before, after in pairwise(visits)]
        return changes, np.array(around[:2]).ravel()
    if error.kind == "fragment":
        own = [areas.followed[i] == g for i in (d, *error.partners)]
        ordered = sorted((np.flatnonzero(mask) for mask in own), key=lambda frames: int(frames[0]))
        return np.flatnonzero(own[0]), np.array([frames[len(frames) // 2] for frames in ordered[:_MOST_SHOWN]])
    if error.kind == "late start / early end":
        lacking = (areas.annotated_areas[g] > 0) & ~exists
        return np.flatnonzero(lacking), _borders(lacking, exists)
    if error.kind == "mask":
        shared, union = frame_overlaps(case.predicted[d], case.annotated[g], areas.predicted_areas[d], areas.annotated_areas[g])
        poor = np.flatnonzero((union > 0) & (shared < iou * union))
        poor = poor if len(poor) else np.flatnonzero(shared < union)
        return poor, poor[np.argsort(shared[poor] - union[poor], kind="stable")][:3]
    on = areas.followed[d] == g if g >= 0 and error.kind != "false alarm" else exists
    frames = np.flatnonzero(on if on.any() else exists)
    return frames, _spread(frames)


def _spread(frames: Frames, most: int = 3) -> Frames:
    """Up to ``most`` of the frames, evenly spread, the outermost a little inside."""
    if len(frames) <= most:
        return frames
    return frames[((np.arange(most) + 0.5) * len(frames) / most).astype(np.int64)]


def _borders(lacking: NDArray[np.bool_], exists: NDArray[np.bool_]) -> Frames:
    """The middle of each long gap beside the nearest frame with the track; the longest gaps first."""
    there = np.flatnonzero(exists)
    gaps = [np.array(list(run)) for missing, run in groupby(range(len(lacking)), key=lambda t: bool(lacking[t])) if missing]
    chosen: list[int] = []
    for gap in sorted(gaps, key=len, reverse=True)[: _MOST_SHOWN // 2]:
        chosen += [int(gap[len(gap) // 2]), int(there[np.abs(there - gap.mean()).argmin()])]
    return np.array(chosen, np.int64)


def _sentence(error: SortedError, case: VideoCase, names: dict[int, str], frames: Frames, ids: Sequence[int]) -> str:
    d, g, overlaps = error.prediction, error.target, case.overlaps
    target = f"object {ids[g]} ({names[int(case.annotated_categories[g])]})" if g >= 0 else "no object"
    if error.kind == "missed":
        return f"{target} is seen in {len(frames)} frames; no track comes near."
    name = names[int(case.predicted_categories[d])]
    iou = f"tube IoU {overlaps.tube[d, g]:.2f}" if g >= 0 else "tube IoU 0"
    if error.kind == "classification":
        return f"{target} is called {name}; {iou}."
    if error.kind == "duplicate":
        return f"{target} has been found by another track; {iou}" + (
            "."
            if overlaps.tube[d, g] > overlaps.present[d, g] - 0.01
            else f", {overlaps.present[d, g]:.2f} where this track exists."
        )
    if error.kind == "identity switch":
        turns = ", then ".join(f"object {ids[o]} (frames {f[0]} to {f[-1]})" for o, f in stays(overlaps.followed[d]))
        return f"{name}: follows {turns}."
    visible = int(np.count_nonzero(overlaps.annotated_areas[g])) if g >= 0 else 0
    if error.kind == "fragment":
        return f"{target} is covered by {1 + len(error.partners)} tracks; this one has {len(frames)} of its {visible} frames."
    if error.kind == "late start / early end":
        return f"{target} is seen in {visible} frames; the track {_extent(overlaps, d, g)}."
    if error.kind == "mask":
        return f"{target}: {iou}; poor masks in {len(frames)} frames."
    return f"{name} where there is none; nearest is {target}, {iou}."


def _extent(overlaps: VideoOverlaps, d: int, g: int) -> str:
    """How many frames are lacking, and where: before, after or inside the track."""
    exists, visible = overlaps.predicted_areas[d] > 0, overlaps.annotated_areas[g] > 0
    there = np.flatnonzero(exists)
    lacking = np.flatnonzero(visible & ~exists)
    late, early = int((lacking < there[0]).sum()), int((lacking > there[-1]).sum())
    parts = {"before it starts": late, "after it ends": early, "in between": len(lacking) - late - early}
    return "lacks " + ", ".join(f"{count} {where}" for where, count in parts.items() if count)
