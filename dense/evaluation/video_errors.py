"""Where the AP of video instance segmentation is lost: errors by kind, what each kind costs, and the frames that show it.

``error_sorting`` defines the kinds, ``error_mending`` what they cost, ``error_evidence`` picks frames; this module puts them
together, one video at a time.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from dense.data.formats.video_results import ResultRecord
from dense.data.formats.youtube_vis import VideoDataset, VideoRecord
from dense.errors import ConfigError
from dense.evaluation.average_precision import Protocol, match_scene
from dense.evaluation.error_evidence import describe, history
from dense.evaluation.error_kinds import ERROR_KINDS, ErrorFigures, TrackHistory, VideoError, VideoErrorReport
from dense.evaluation.error_mending import MatchLedger
from dense.evaluation.error_sorting import VideoCase, sort_errors
from dense.evaluation.tube_iou import mean_visible_area
from dense.evaluation.video_instances import VIDEO_PROTOCOL, GroundTruth, Predictions, best_first, load_video_inputs
from dense.evaluation.video_overlaps import measure_overlaps

__all__ = ["analyse_video_errors"]


def analyse_video_errors(
    ground_truth_json: GroundTruth, predictions_json: Predictions, *, iou: float = 0.5, background: float = 0.1
) -> VideoErrorReport:
    """Split lost AP into kinds of errors (``dense.evaluation.error_sorting`` defines them).

    Args:
        ground_truth_json: path of a YouTube-VIS style file, or its content, or a ``VideoDataset``.
        predictions_json: path of a result file, or its content.
        iou: tube IoU from which a track is right, in (0, 1].
        background: tube IoU below which a track has nothing to do with an object, in [0, ``iou``].

    Returns: figures of each kind, every error with its frames, every track with what it follows. ``ap`` equals the evaluator's
    (``AP50`` at 0.5); mending all kinds at once would make it 100.
    Raises: DataError if either input is wrong; AnnotationsMissingError (a DataError) if the ground truth has no annotations;
        ConfigError if a threshold is out of range.
    """
    if not 0 < iou <= 1:
        raise ConfigError(f"iou: is {iou}, expected a tube IoU in (0, 1], for instance 0.5.")
    if not 0 <= background <= iou:
        raise ConfigError(f"background: is {background}, expected a tube IoU in [0, {iou}].")
    dataset, records = load_video_inputs(ground_truth_json, predictions_json)
    by_video: dict[int, list[int]] = defaultdict(list)
    for index, record in enumerate(records):
        by_video[record.video_id].append(index)
    protocol = Protocol(np.array([iou]), VIDEO_PROTOCOL.recall_points, VIDEO_PROTOCOL.limits[-1:])
    ledger = MatchLedger(len(dataset.categories))
    errors: list[VideoError] = []
    tracks: list[TrackHistory] = []
    for video in sorted(dataset.videos, key=lambda video: video.id):  # the evaluator's order
        indices = _scored(records, by_video[video.id])
        case = _case(video, [records[i] for i in indices], protocol)
        found_errors = sort_errors(case, iou, background)
        numbers = _enter(ledger, dataset, case, [records[i].score for i in indices])
        for error in found_errors:
            target = numbers[1].get(error.target, -1)
            ledger.add_error(error.kind, -1 if error.prediction < 0 else numbers[0] + error.prediction, target)
        described = [describe(error, case, video, indices, records, dataset, iou) for error in found_errors]
        errors += sorted(described, key=lambda error: -(error.score if error.score is not None else -np.inf))
        tracks += sorted(history(case, video, indices), key=lambda track: -records[track.prediction].score)
    ap = ledger.average_precision(protocol)
    figures = {
        kind: ErrorFigures(sum(error.kind == kind for error in errors), ledger.average_precision(protocol, (kind,)) - ap)
        for kind in ERROR_KINDS
    }
    return VideoErrorReport(iou, background, ap, figures, tuple(errors), tuple(tracks))


def _scored(records: Sequence[ResultRecord], indices: Sequence[int]) -> list[int]:
    """Those predictions of one video that the evaluator scores, by category, then in its order."""
    grouped: dict[int, list[int]] = defaultdict(list)
    for index in indices:
        grouped[records[index].category_id].append(index)
    position = {id(records[index]): index for index in indices}
    return [position[id(r)] for k in sorted(grouped) for r in best_first([records[i] for i in grouped[k]])]


def _case(video: VideoRecord, found: Sequence[ResultRecord], protocol: Protocol) -> VideoCase:
    """One video with the evaluator's matches, category by category."""
    predicted, annotated = [r.segmentations for r in found], [t.segmentations for t in video.tracks]
    kinds = np.array([r.category_id for r in found], np.int64), np.array([t.category_id for t in video.tracks], np.int64)
    crowd = np.array([t.iscrowd for t in video.tracks], bool)
    overlaps = measure_overlaps(predicted, annotated, crowd, video.length)
    objects, ignored = np.full(len(found), -1, np.int64), np.zeros(len(found), bool)
    for category in np.unique(kinds[0]):
        rows, columns = np.flatnonzero(kinds[0] == category), np.flatnonzero(kinds[1] == category)
        matches = match_scene(
            scores=np.array([found[d].score for d in rows.tolist()], float),
            areas=np.zeros(len(rows)),  # without bounds on areas theirs do not matter
            iou=overlaps.tube[np.ix_(rows, columns)],
            object_areas=np.array([mean_visible_area(video.tracks[g].areas) for g in columns], float),
            crowd=crowd[columns],
            protocol=protocol,
        )
        position, ignored[rows] = matches.objects[0, 0], matches.ignored[0, 0]
        right = matches.matched[0, 0] & ~matches.ignored[0, 0]
        objects[rows[right]] = columns[position[right]]
    return VideoCase(predicted, annotated, *kinds, crowd, objects, ignored, overlaps)


def _enter(ledger: MatchLedger, dataset: VideoDataset, case: VideoCase, scores: Sequence[float]) -> tuple[int, dict[int, int]]:
    """Enter a video's predictions and objects; returns the number of the first prediction, and of each object but crowds."""
    first = len(ledger.predictions)
    rows = zip(case.predicted_categories.tolist(), scores, case.found.tolist(), case.ignored.tolist(), strict=True)
    for category, score, found, ignored in rows:
        ledger.add_prediction(dataset.contiguous_id(category), score, matched=found >= 0 or ignored, ignored=ignored)
    found_objects = set(case.found.tolist())
    numbers = {
        g: ledger.add_object(dataset.contiguous_id(category), found=g in found_objects)
        for g, category in enumerate(case.annotated_categories.tolist())
        if not case.crowd[g]
    }
    return first, numbers
