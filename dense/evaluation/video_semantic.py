"""Video semantic segmentation: mean IoU, and video consistency (Miao et al., VSPW, §5), from label maps in VSPW's form.

VC of n frames: over every n successive frames, of the pixels whose annotated label does not change, the share whose predicted
label does not change either (it need not be right); then the mean over the windows of all videos. As in the published script, a
video of T frames has T - n windows (the one that ends with the last frame is left out), and unlabelled pixels that stay so are
constant as well. One frame is held at a time: how long each pixel has not changed is all that is remembered.
"""

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dense.data.formats.label_videos import NO_CLASS, UNLABELLED, LabelVideo, class_labels, label_videos
from dense.data.formats.png_ids import read_label_map
from dense.data.formats.semantic_maps import check_labels
from dense.errors import DataError
from dense.evaluation.semantic import ConfusionMatrix, class_names

__all__ = [
    "CONSISTENCY_WINDOWS",
    "VideoConsistency",
    "VideoSemanticCounter",
    "count_video_semantic",
    "evaluate_video_semantic",
]

CONSISTENCY_WINDOWS = (8, 16)
_IGNORED = -1  # no class index, however many classes there are


class VideoConsistency:
    """Counts one video, frame by frame; ``windows`` {n: accuracy of each window in [0, 1]}, NaN where no pixel is constant."""

    def __init__(self, lengths: Sequence[int] = CONSISTENCY_WINDOWS) -> None:
        self.windows: dict[int, list[float]] = {n: [] for n in lengths}
        self._frames = 0
        self._last: NDArray[np.integer] | None = None  # (2, H, W): annotated, predicted
        self._runs: NDArray[np.uint16] | None = None  # (2, H, W): frames since the last change

    def add(self, annotated: NDArray[np.integer], predicted: NDArray[np.integer]) -> None:
        """Count the next frame: ``(H, W)`` labels each, compared as they are. Raises: DataError if the size changes."""
        labels = np.stack([annotated, predicted])
        if self._last is None or self._runs is None:
            self._runs = np.ones(labels.shape, np.uint16)
        else:
            if labels.shape != self._last.shape:
                raise DataError(f"label maps: {labels.shape[1:]} after {self._last.shape[1:]}, expected one size per video.")
            self._close()  # only now is it known that the windows that end with the last frame count
            self._runs *= labels == self._last
            self._runs += self._runs < max(self.windows)  # no further: 16 bits hold it, however long the video
        self._last = labels
        self._frames += 1

    def _close(self) -> None:
        runs = self._runs
        assert runs is not None, "called after the first frame"
        both = runs.min(0)
        for n, accuracies in self.windows.items():
            if self._frames >= n:
                constant = np.count_nonzero(runs[0] >= n)
                accuracies.append(np.count_nonzero(both >= n) / constant if constant else float("nan"))


def evaluate_video_semantic(
    ground_truth_dir: str | os.PathLike[str],
    predictions_dir: str | os.PathLike[str],
    num_classes: int,
    *,
    split_file: str | os.PathLike[str] | None = None,
    unlabelled: Sequence[int] = UNLABELLED,
    category_names: Sequence[str] | None = None,
    published_vc16: bool = False,
) -> dict[str, Any]:
    """Score predicted label maps of videos. One frame is held at a time.

    Args:
        ground_truth_dir: folder with ``<video>/mask/*.png`` or ``<video>/*.png``: class k has the value k + 1.
        predictions_dir: folder with ``<video>/<frame>.png`` for each of them: class indices 0 to K-1, 255 = no class (a miss).
        num_classes: K, 124 for VSPW.
        split_file: name of one video per line (``val.txt`` of VSPW); default: all videos of ``ground_truth_dir``.
        unlabelled: annotated values that are no class.
        category_names: K names; default ``class 0`` and so on.
        published_vc16: ``VC16`` as the published script prints it: it averages the windows of 8 frames along with those of 16.

    Returns: percent: ``mIoU`` (over the classes that are annotated somewhere, counted over all frames), ``VC8``, ``VC16`` (NaN
    if no video is long enough), ``fwIoU``, ``pixel_accuracy``, ``mean_accuracy``; ``per_category`` {name: IoU}; ``per_video``
    {name: {"frames", "mIoU", "VC8", "VC16", "pixel_accuracy"}}.
    Raises: DataError naming the file that is missing, broken, of another size, or has a value that is no class; also for a
    wrong number of classes or names.
    """
    names = class_names(num_classes, category_names)
    counter = count_video_semantic(ground_truth_dir, predictions_dir, names, split_file=split_file, unlabelled=unlabelled)
    return counter.figures(published_vc16)


class VideoSemanticCounter:
    """Counts video by video; one frame is held at a time.

    Args:
        names: of the K classes.
        unlabelled: see ``evaluate_video_semantic``.
    """

    def __init__(self, names: Sequence[str], unlabelled: Sequence[int] = UNLABELLED) -> None:
        self.names, self.unlabelled = list(names), tuple(unlabelled)
        self._matrix = ConfusionMatrix(len(self.names), _IGNORED)
        self._windows: dict[int, list[float]] = {n: [] for n in CONSISTENCY_WINDOWS}
        self._per_video: dict[str, dict[str, float]] = {}

    def add_video(self, video: LabelVideo, results: Path) -> None:
        """Count one video, whose predicted maps lie in the folder ``results``."""
        counts, consistency = _count_video(video, results, len(self.names), self.unlabelled)
        own = counts.figures(self.names)
        shown = {"mIoU": own["mIoU"], **_means(consistency.windows), "pixel_accuracy": own["pixel_accuracy"]}
        self._add(counts, consistency.windows, {video.name: {"frames": len(video.frames), **shown}})

    def merge(self, other: "VideoSemanticCounter") -> None:
        """Add what ``other`` has counted in other videos, with the same classes."""
        self._add(other._matrix, other._windows, other._per_video)

    def _add(self, counts: ConfusionMatrix, windows: dict[int, list[float]], rows: dict[str, dict[str, float]]) -> None:
        self._matrix.counts += counts.counts
        for n, found in windows.items():
            self._windows[n] += found
        self._per_video |= rows

    def figures(self, published_vc16: bool = False) -> dict[str, Any]:
        """The figures of ``evaluate_video_semantic``."""
        windows = self._windows
        if published_vc16:
            windows = windows | {16: windows[16] + windows[8]}
        figures = self._matrix.figures(self.names)
        return {"mIoU": figures.pop("mIoU"), **_means(windows), **figures, "per_video": dict(self._per_video)}


def count_video_semantic(
    ground_truth_dir: str | os.PathLike[str],
    predictions_dir: str | os.PathLike[str],
    names: Sequence[str],
    *,
    split_file: str | os.PathLike[str] | None = None,
    unlabelled: Sequence[int] = UNLABELLED,
    videos: Collection[str] | None = None,
) -> VideoSemanticCounter:
    """Count for ``evaluate_video_semantic``; ``names`` are those of the classes, ``videos`` those that count (``None``: all).

    The counts of other videos can be merged: several processes may share them.
    """
    counter = VideoSemanticCounter(names, unlabelled)
    for video in label_videos(ground_truth_dir, split_file):
        if videos is None or video.name in videos:
            counter.add_video(video, Path(predictions_dir) / video.name)
    return counter


def _count_video(
    video: LabelVideo, results: Path, num_classes: int, unlabelled: Sequence[int]
) -> tuple[ConfusionMatrix, VideoConsistency]:
    counts, consistency = ConfusionMatrix(num_classes, _IGNORED), VideoConsistency()
    size: tuple[int, int] | None = None  # one for all frames of a video
    for path in video.frames:
        stored = read_label_map(path, size)
        size = (stored.shape[0], stored.shape[1])
        predicted = read_label_map(results / path.name, size)
        check_labels(predicted, num_classes, NO_CLASS, str(results / path.name))
        annotated = class_labels(stored, num_classes, str(path), unlabelled=unlabelled, ignore_label=_IGNORED)
        counts.add(annotated, predicted)
        consistency.add(stored, predicted)
    return counts, consistency


def _means(windows: dict[int, list[float]]) -> dict[str, float]:
    known = {n: [value for value in values if not np.isnan(value)] for n, values in windows.items()}
    return {f"VC{n}": 100 * sum(values) / len(values) if values else float("nan") for n, values in known.items()}
