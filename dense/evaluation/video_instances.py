"""Average precision of video instance segmentation, as YouTube-VIS and OVIS define it.

COCO's protocol per (video, category) on spatio-temporal IoU. An object's area is the mean over the frames where it is visible:
of the file's ``areas`` for annotated objects, of the masks for predictions. Small is below 128² pixels, large above 256².
"""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dense.data.formats.category_table import CategoryTable
from dense.data.formats.video_results import ResultRecord, parse_video_results, read_video_results
from dense.data.formats.youtube_vis import (
    AnnotationsMissingError,
    ObjectTrack,
    VideoDataset,
    VideoRecord,
    parse_youtube_vis,
    read_youtube_vis,
)
from dense.evaluation.average_precision import Protocol, SceneMatches, match_scene, precision_recall
from dense.evaluation.tube_iou import mean_visible_area, tube_areas, tube_iou

__all__ = [
    "VIDEO_PROTOCOL",
    "PrecisionTables",
    "best_first",
    "evaluate_video_instances",
    "load_video_inputs",
    "mean_precision",
    "precision_tables",
    "summarise",
]

VIDEO_PROTOCOL = Protocol(area_ranges=((0, 1e10), (0, 128**2), (128**2, 256**2), (256**2, 1e10)))
_ALL, _SMALL, _MEDIUM, _LARGE = range(4)

PathLike = str | os.PathLike[str]
GroundTruth = PathLike | Mapping[str, Any] | VideoDataset
Predictions = PathLike | Sequence[Mapping[str, Any]] | Sequence[ResultRecord]


@dataclass(frozen=True)
class PrecisionTables:
    """Everything the figures are means of; NaN where a category has no object in the area range.

    Attributes:
        precision: ``(T, R, K, A, M)``: IoU thresholds, recall points, categories, area ranges, detection limits.
        recall: ``(T, K, A, M)``.
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]


def evaluate_video_instances(ground_truth_json: GroundTruth, predictions_json: Predictions) -> dict[str, Any]:
    """Score predicted tracks against annotated ones.

    Args:
        ground_truth_json: path of a YouTube-VIS style file, or its content, or a ``VideoDataset``.
        predictions_json: path of a result file, or its content.

    Returns: percent: ``AP`` (mean over IoU 0.50 to 0.95), ``AP50``, ``AP75``, ``APs`` ``APm`` ``APl`` by area, ``AR1`` ``AR10``
    ``AR100`` (recall with so many tracks per video and category), ``ARs`` ``ARm`` ``ARl``, and ``per_category`` {name: AP}.
    A figure without any object to find is NaN.
    Raises: DataError if either input is wrong; AnnotationsMissingError (a DataError) if the ground truth has no annotations.
    """
    dataset, predictions = load_video_inputs(ground_truth_json, predictions_json)
    return summarise(precision_tables(dataset, predictions), dataset)


def load_video_inputs(ground_truth: GroundTruth, predictions: Predictions) -> tuple[VideoDataset, list[ResultRecord]]:
    """Read and check both inputs of ``evaluate_video_instances``; the errors are those described there."""
    if isinstance(ground_truth, VideoDataset):
        dataset = ground_truth
    elif isinstance(ground_truth, Mapping):
        dataset = parse_youtube_vis(ground_truth, "ground truth")
    else:
        dataset = read_youtube_vis(ground_truth)
    if isinstance(predictions, str | os.PathLike):
        records = read_video_results(predictions, dataset)
    else:
        plain = [vars(p) | {"segmentations": list(p.segmentations)} if isinstance(p, ResultRecord) else p for p in predictions]
        records = parse_video_results(plain, dataset)
    if not dataset.has_annotations:
        raise AnnotationsMissingError(f"{dataset.path}: has no annotations, so there is nothing to score against.")
    return dataset, records


def precision_tables(dataset: VideoDataset, predictions: Sequence[ResultRecord]) -> PrecisionTables:
    """Precision and recall of each category (contiguous order) under ``VIDEO_PROTOCOL``."""
    grouped: dict[tuple[int, int], list[ResultRecord]] = defaultdict(list)
    for record in predictions:
        grouped[record.video_id, record.category_id].append(record)
    scenes: dict[int, list[SceneMatches]] = {category.id: [] for category in dataset.categories}
    for video in sorted(dataset.videos, key=lambda video: video.id):  # the order that breaks ties between videos
        annotated: dict[int, list[ObjectTrack]] = defaultdict(list)
        for track in video.tracks:
            annotated[track.category_id].append(track)
        for category in dataset.categories:
            found, wanted = grouped[video.id, category.id], annotated[category.id]
            if found or wanted:
                scenes[category.id].append(_scene(video, found, wanted))
    curves = [precision_recall(scenes[category.id], VIDEO_PROTOCOL) for category in dataset.categories]
    if not curves:
        curves = [precision_recall([], VIDEO_PROTOCOL)]
    return PrecisionTables(np.stack([c[0] for c in curves], axis=2), np.stack([c[1] for c in curves], axis=1))


def _scene(video: VideoRecord, found: Sequence[ResultRecord], wanted: Sequence[ObjectTrack]) -> SceneMatches:
    """Matches of one category in one video."""
    best = best_first(found)
    masks = [record.segmentations for record in best]
    return match_scene(
        scores=np.array([record.score for record in best], float),
        areas=np.array([mean_visible_area(row) for row in tube_areas(masks, video.length)], float),
        iou=tube_iou(masks, [track.segmentations for track in wanted], video.length),
        object_areas=np.array([mean_visible_area(track.areas) for track in wanted], float),
        crowd=np.array([track.iscrowd for track in wanted], bool),
        protocol=VIDEO_PROTOCOL,
    )


def best_first(found: Sequence[ResultRecord]) -> list[ResultRecord]:
    """The predictions of one category in one video that are scored: best first, ties in the file's order, at most 100."""
    return sorted(found, key=lambda record: -record.score)[: VIDEO_PROTOCOL.limits[-1]]


def summarise(tables: PrecisionTables, dataset: CategoryTable) -> dict[str, Any]:
    """The figures of ``evaluate_video_instances`` from its tables."""
    at_50, at_75 = (int(np.argmin(abs(VIDEO_PROTOCOL.iou_thresholds - level))) for level in (0.5, 0.75))
    precision, recall = tables.precision, tables.recall
    figures: dict[str, Any] = {
        "AP": mean_precision(precision[..., _ALL, -1]),
        "AP50": mean_precision(precision[at_50, ..., _ALL, -1]),
        "AP75": mean_precision(precision[at_75, ..., _ALL, -1]),
        "APs": mean_precision(precision[..., _SMALL, -1]),
        "APm": mean_precision(precision[..., _MEDIUM, -1]),
        "APl": mean_precision(precision[..., _LARGE, -1]),
        "AR1": mean_precision(recall[..., _ALL, 0]),
        "AR10": mean_precision(recall[..., _ALL, 1]),
        "AR100": mean_precision(recall[..., _ALL, 2]),
        "ARs": mean_precision(recall[..., _SMALL, -1]),
        "ARm": mean_precision(recall[..., _MEDIUM, -1]),
        "ARl": mean_precision(recall[..., _LARGE, -1]),
    }
    figures["per_category"] = {
        name: mean_precision(precision[:, :, k, _ALL, -1]) for k, name in enumerate(_distinct_names(dataset))
    }
    return figures


def _distinct_names(dataset: CategoryTable) -> list[str]:
    """Category names in contiguous order; one that occurs twice gets its id behind it."""
    names = list(dataset.category_names)
    return [n if names.count(n) == 1 else f"{n} (id {c.id})" for n, c in zip(names, dataset.categories, strict=True)]


def mean_precision(values: NDArray[np.float64]) -> float:
    """Mean of a part of ``PrecisionTables`` in percent, NaN left out; NaN if there is nothing else."""
    known = values[~np.isnan(values)]
    return float(known.mean()) * 100 if known.size else float("nan")
