"""Video panoptic quality (Kim et al., Video Panoptic Segmentation, §4) and STQ, from files in VIPSeg's form.

VPQ of window k: the segments of every k successive frames are joined into tubes, which are matched like the segments of an
image (``panoptic.py``); matches are counted over all windows of all videos, a video shorter than k has none. VPQ is the mean
over the windows. Areas are counted in the PNG files; the ``area`` of the JSON file does not count. An id that changes its
category counts as what it is first in each window (STQ: in each frame).
"""

import os
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dense.data.formats.category_table import Category
from dense.data.formats.coco_panoptic import SegmentInfo
from dense.data.formats.png_ids import read_id_map
from dense.data.formats.video_panoptic import (
    ScoredVideo,
    VideoPanopticTruth,
    read_video_panoptic_results,
    read_video_panoptic_truth,
)
from dense.errors import ConfigError, DataError
from dense.evaluation.panoptic import PanopticCounter, panoptic_figures
from dense.evaluation.segment_overlaps import Overlaps, SegmentOverlaps
from dense.evaluation.tracking_quality import TrackingQuality

__all__ = ["WINDOWS", "FramePair", "VideoPanopticCounter", "count_video_panoptic", "evaluate_video_panoptic"]

PathLike = str | os.PathLike[str]
WINDOWS = (1, 2, 4, 6)
"""Lengths in frames. Some scripts add 8 to them, which changes the mean: compare figures of equal windows only."""


@dataclass(frozen=True)
class FramePair:
    """One frame, counted: ``overlaps`` in pixels, annotated and predicted segments by id in the file's order."""

    overlaps: Overlaps
    wanted: dict[int, SegmentInfo]
    found: dict[int, SegmentInfo]


class _Counts:
    """What was counted in one video, or in all: one counter per window, and STQ."""

    def __init__(self, windows: Sequence[int], things: frozenset[int], published: bool) -> None:
        self.frames = 0
        self.windows = {k: PanopticCounter() for k in windows}
        self.tracking = TrackingQuality(things, published)

    def merge(self, other: "_Counts") -> None:
        self.frames += other.frames
        for k, counter in self.windows.items():
            counter.merge(other.windows[k])
        self.tracking.merge(other.tracking)


class VideoPanopticCounter:
    """Counts video by video; no more than the counts of the last few frames are held.

    Args:
        categories: things and stuff.
        windows: lengths in frames.
        published_stq: see ``TrackingQuality``.
    """

    def __init__(self, categories: Sequence[Category], windows: Sequence[int] = WINDOWS, *, published_stq: bool = True) -> None:
        if not windows or min(windows) < 1 or len(set(windows)) < len(windows):
            raise ConfigError(f"windows: {list(windows)}, expected different numbers of frames from 1.")
        self.categories, self.windows = tuple(categories), tuple(windows)
        self._things = frozenset(category.id for category in categories if category.isthing)
        self._published = published_stq
        self._total = self._empty()
        self._per_video: dict[str, dict[str, float]] = {}

    def _empty(self) -> _Counts:
        return _Counts(self.windows, self._things, self._published)

    def add_video(self, name: str, frames: Iterable[FramePair]) -> None:
        """Count the frames of a video, in order, as they come."""
        counts, recent = self._empty(), deque[FramePair](maxlen=max(self.windows))
        for frame in frames:
            recent.append(frame)
            counts.frames += 1
            for k, counter in counts.windows.items():
                if len(recent) >= k:
                    tube = _joined(list(recent)[-k:])
                    counter.add_overlaps(tube.overlaps, tube.wanted, tube.found)
            counts.tracking.add_frame(frame.overlaps, frame.wanted, frame.found)
        counts.tracking.end_video()
        self._total.merge(counts)
        quality, _ = self._qualities(counts)
        self._per_video[name] = {"frames": counts.frames, **quality, **counts.tracking.figures()}

    def merge(self, other: "VideoPanopticCounter") -> None:
        """Add what ``other`` has counted in other videos, with the same categories and windows."""
        self._total.merge(other._total)
        self._per_video |= other._per_video

    def counts(self, window: int) -> PanopticCounter:
        """Matches of one window over all videos so far."""
        return self._total.windows[window]

    def figures(self) -> dict[str, Any]:
        """The figures of ``evaluate_video_panoptic``."""
        quality, per_category = self._qualities(self._total)
        return {
            **quality,
            **self._total.tracking.figures(),
            "per_category": per_category,
            "per_video": dict(self._per_video),
        }

    def _qualities(self, counts: _Counts) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
        """VPQ over all, things, stuff: the mean over the windows first, then each window; likewise of each category."""
        each = {k: panoptic_figures(counter.counts, self.categories) for k, counter in counts.windows.items()}
        quality = {f"VPQ{suffix}": _mean([each[k][f"PQ{suffix}"] for k in self.windows]) for suffix in ("", "_th", "_st")}
        quality |= {f"VPQ_{k}{suffix}": each[k][f"PQ{suffix}"] for k in self.windows for suffix in ("", "_th", "_st")}
        names = dict.fromkeys(name for k in self.windows for name in each[k]["per_category"])
        rows: dict[str, dict[str, float]] = {}
        for name in names:
            row = {f"VPQ_{k}": each[k]["per_category"].get(name, {}).get("PQ", float("nan")) for k in self.windows}
            rows[name] = {"VPQ": _mean(list(row.values())), **row}
        return quality, rows


def _joined(frames: Sequence[FramePair]) -> FramePair:
    """The tubes of a few frames; the first occurrence of an id says what it is."""
    if len(frames) == 1:
        return frames[0]
    overlaps: Counter[tuple[int, int]] = Counter()
    wanted: dict[int, SegmentInfo] = {}
    found: dict[int, SegmentInfo] = {}
    for frame in frames:
        overlaps.update(frame.overlaps)
        wanted = frame.wanted | wanted
        found = frame.found | found
    return FramePair(overlaps, wanted, found)


def _mean(values: Sequence[float]) -> float:
    """NaN if a value is: a mean over fewer windows would not compare."""
    return sum(values) / len(values)


def evaluate_video_panoptic(
    ground_truth_json: PathLike | VideoPanopticTruth,
    ground_truth_dir: PathLike,
    predictions_json: PathLike,
    predictions_dir: PathLike,
    *,
    windows: Sequence[int] = WINDOWS,
    published_stq: bool = True,
) -> dict[str, Any]:
    """Score video panoptic results. One frame is held at a time.

    Args:
        ground_truth_json: path of a file in VIPSeg's form, or what ``read_video_panoptic_truth`` gave.
        ground_truth_dir: folder of its PNG files, ``<video>/<frame>.png``.
        predictions_json: result file, ``pred.json``.
        predictions_dir: folder of its PNG files.
        windows: of VPQ, in frames.
        published_stq: STQ as the published code has it, else without its two habits (``dense.evaluation.tracking_quality``).

    Returns: percent: ``VPQ`` (mean over the windows) and ``VPQ_<k>`` of each window, the same with ``_th`` for things and
    ``_st`` for stuff; ``STQ``, ``SQ``, ``AQ``; ``per_category`` {name: {"VPQ", "VPQ_<k>"}} of those that occur; ``per_video``
    {name: all of these but per category, and "frames"}. NaN where there is nothing to measure (a window longer than every
    video, and then the mean).
    Raises: DataError, one line with file and id: see ``read_video_panoptic_truth``, ``read_video_panoptic_results``; PNG files
    that are missing, broken, of another size, or disagree with the JSON file. ConfigError for windows below 1.
    """
    truth = ground_truth_json
    if not isinstance(truth, VideoPanopticTruth):
        truth = read_video_panoptic_truth(truth)
    return count_video_panoptic(
        truth,
        ground_truth_dir,
        predictions_json,
        predictions_dir,
        windows=windows,
        published_stq=published_stq,
    ).figures()


def count_video_panoptic(
    truth: VideoPanopticTruth,
    ground_truth_dir: PathLike,
    predictions_json: PathLike,
    predictions_dir: PathLike,
    videos: Collection[str] | None = None,
    *,
    windows: Sequence[int] = WINDOWS,
    published_stq: bool = True,
) -> VideoPanopticCounter:
    """Count for ``evaluate_video_panoptic``; ``videos`` are the names of those that count (``None``: all).

    The counts of other videos can be merged: several processes may share them. The result file must have all videos.
    """
    counter = VideoPanopticCounter(truth.categories, windows, published_stq=published_stq)
    results = read_video_panoptic_results(predictions_json, truth)
    roots = Path(ground_truth_dir), Path(predictions_dir)
    for root, source in zip(roots, (truth.path, predictions_json), strict=True):
        if not root.is_dir():
            raise DataError(f"{root}: no such folder, expected the PNG files of {source}.")
    overlaps = SegmentOverlaps()
    for video in truth.videos:
        if videos is None or video.name in videos:
            counter.add_video(video.name, _frames(video, results[video.name], roots, overlaps))
    return counter


def _frames(
    video: ScoredVideo, result: ScoredVideo, roots: tuple[Path, Path], overlaps: SegmentOverlaps
) -> Iterator[FramePair]:
    for wanted, found in zip(video.frames, result.frames, strict=True):
        first, second = roots[0] / video.name / wanted.png_name, roots[1] / video.name / found.png_name
        annotated = read_id_map(first, wanted.size)
        predicted = read_id_map(second, (annotated.shape[0], annotated.shape[1]))
        one, other = ({segment.id: segment for segment in frame.segments} for frame in (wanted, found))
        yield FramePair(overlaps.count(annotated, list(one), predicted, list(other), (first, second)), one, other)
