"""The HTML page of an error analysis: what each kind costs, the worst examples in pictures, timelines with switches."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dense.data.formats.video_results import ResultRecord
from dense.data.formats.youtube_vis import ObjectTrack, VideoDataset, VideoRecord
from dense.errors import DataError
from dense.evaluation.error_kinds import ERROR_KINDS, TrackHistory, VideoError, VideoErrorReport
from dense.structures import RLE
from dense.structures.rle import area
from dense.visualization.comparison import COMPARISON_LEGEND, blank_frame, crop_around, draw_comparison
from dense.visualization.error_section import ErrorExample, ErrorKind, ErrorSection
from dense.visualization.palette import track_color
from dense.visualization.report import NO_OBJECT, Metric, Report, ReportVideo, TrackRow

__all__ = ["error_page"]

EXAMPLES = 4  # of each kind
MOST_SWITCHES = 6  # videos shown for their identity switches, beside those of the examples
MIN_SCORE = 0.3  # of the predictions in the timelines, beside those of the examples

Picture = NDArray[np.uint8]


def error_page(
    report: VideoErrorReport,
    dataset: VideoDataset,
    records: Sequence[ResultRecord],
    figures: Mapping[str, Any],
    *,
    frames: Path | None = None,
    facts: Mapping[str, str] | None = None,
) -> Report:
    """What ``dense.visualization.write_report`` makes a page of.

    Args:
        report: of ``analyse_video_errors``, on the same data set and predictions.
        dataset: ground truth.
        records: all predictions, in the file's order.
        figures: of ``evaluate_video_instances``.
        frames: folder that the data set's ``file_names`` are relative to; ``None`` draws the masks on plain ground.
        facts: what was compared, by name.

    Raises: DataError if a frame is missing, broken or of another size.
    """
    content = _Content(report, replace(dataset, image_root=frames), records, frames is not None)
    chosen = {kind: content.worst(kind) for kind in ERROR_KINDS}
    videos = content.videos_shown([error for errors in chosen.values() for error in errors])
    place = {video.id: number for number, video in enumerate(videos)}
    kinds = [
        ErrorKind(
            kind,
            meaning,
            report.kinds[kind].lost_ap,
            report.kinds[kind].count,
            [content.example(error, place.get(error.video_id)) for error in chosen[kind]],
        )
        for kind, meaning in ERROR_KINDS.items()
    ]
    involved = {index for errors in chosen.values() for error in errors for index in error.predictions}
    switches = sum(len(track.switches) for track in report.tracks if content.shown(track, involved))
    return Report(
        title=f"Where {report.name} is lost",
        summary=[Metric(name, figures[name]) for name in ("AP", "AP50", "AP75", "AR10")],
        errors=ErrorSection(report.name, sorted(kinds, key=lambda kind: -(kind.lost_ap or 0.0)), content.legend),
        videos=[content.timeline(video, involved) for video in videos],
        facts=dict(facts or {}),
        notes=[
            f"{len(dataset.videos)} videos, {sum(len(v.tracks) for v in dataset.videos)} objects, {len(records)} predictions;"
            f" {len(report.errors)} errors at a tube IoU of {report.iou:g}, {switches} identity switches of tracks"
            f" with a score of at least {MIN_SCORE:g} (or shown below)."
        ],
    )


@dataclass
class _Content:
    """Look-ups that the parts of the page share."""

    report: VideoErrorReport
    dataset: VideoDataset
    records: Sequence[ResultRecord]
    has_frames: bool

    def __post_init__(self) -> None:
        self.videos = {video.id: video for video in self.dataset.videos}
        self.objects = {track.id: track for video in self.dataset.videos for track in video.tracks}
        self.names = {category.id: category.name for category in self.dataset.categories}
        self.found = {track.object_id for track in self.report.tracks if track.object_id is not None}
        self.kind_of = {error.predictions[0]: error.kind for error in self.report.errors if error.predictions}
        self.tracks: dict[int, list[TrackHistory]] = defaultdict(list)
        for track in self.report.tracks:
            self.tracks[track.video_id].append(track)

    @property
    def legend(self) -> str:
        """How to read the pictures."""
        return COMPARISON_LEGEND + ("" if self.has_frames else " Frames were not given, so masks stand on plain ground.")

    def worst(self, kind: str) -> list[VideoError]:
        """The errors that cost most: those whose object nobody found, then by score; missed objects by their size."""

        def weight(error: VideoError) -> tuple[bool, float]:
            lost = bool(error.object_ids) and error.object_ids[0] not in self.found
            if error.score is not None:
                return lost, error.score
            return lost, sum(size or 0.0 for size in self.objects[error.object_ids[0]].areas)

        return sorted((e for e in self.report.errors if e.kind == kind), key=weight, reverse=True)[:EXAMPLES]

    def videos_shown(self, errors: Iterable[VideoError]) -> list[VideoRecord]:
        """Videos of the examples, and those with the most identity switches; in the file's order."""

        def switches(video: VideoRecord) -> int:
            return sum(len(t.switches) for t in self.tracks[video.id] if self.shown(t, set()))

        most = sorted((v for v in self.dataset.videos if switches(v)), key=switches, reverse=True)[:MOST_SWITCHES]
        chosen = {error.video_id for error in errors} | {video.id for video in most}
        return [video for video in self.dataset.videos if video.id in chosen]

    def shown(self, track: TrackHistory, involved: set[int]) -> bool:
        """Does a prediction stand in the timeline?"""
        return self.records[track.prediction].score >= MIN_SCORE or track.prediction in involved

    def example(self, error: VideoError, place: int | None) -> ErrorExample:
        """One error in pictures."""
        video = self.videos[error.video_id]
        truths = [self.objects[i] for i in error.object_ids]
        plain = {self._name(item) for item in truths}  # a prediction's name is only of interest where it differs
        labels = [name if plain != {name} else "" for name in (self._name(self.records[i]) for i in error.predictions)]
        predictions = list(zip((self.records[i].segmentations for i in error.predictions), labels, strict=True))
        masks = [masks[t] for t in error.shown for masks in (*(m for m, _ in predictions), *(o.segmentations for o in truths))]
        box = crop_around(masks, video.height, video.width)
        pictures = []
        for t in error.shown:
            drawn = draw_comparison(
                self._frame(video, t),
                [(m[t], label) for m, label in predictions],
                [(o.segmentations[t], f"{o.id} {self._name(o)}") for o in truths],
                box,
            )
            pictures.append((f"frame {t}{_absent(error, [m[t] for m, _ in predictions], truths, t)}", drawn))
        who = (
            f"prediction {error.predictions[0]}, score {error.score:.2f}"
            if error.predictions
            else f"object {error.object_ids[0]}"
        )
        return ErrorExample(f"{_video_name(video)}, {who}:", error.detail, pictures, place)

    def timeline(self, video: VideoRecord, involved: set[int]) -> ReportVideo:
        """Objects and predictions of one video over time, in frames."""
        colors = {track.id: track_color(number) for number, track in enumerate(video.tracks, start=1)}
        rows = [
            TrackRow(track.id, self._name(track), None, _seen(track.segmentations), colors[track.id], ground_truth=True)
            for track in video.tracks
        ]
        for track in self.tracks[video.id]:
            if self.shown(track, involved):
                rows.append(self._row(track, colors))
        return ReportVideo(_video_name(video), [float(t) for t in range(video.length)], rows, in_frames=True)

    def _row(self, track: TrackHistory, colors: Mapping[int, tuple[int, int, int]]) -> TrackRow:
        record = self.records[track.prediction]
        beside = track.object_id if track.object_id is not None else _most_followed(track)
        return TrackRow(
            track_id=track.prediction,
            label=self._name(record),
            score=record.score,
            seen=_seen(record.segmentations),
            color=NO_OBJECT if beside is None else colors[beside],
            iou=track.iou,
            match=beside,
            follows=track.follows,
            switches=track.switches,
            note=self.kind_of.get(track.prediction, "ignored" if track.ignored else ""),
        )

    def _name(self, item: ResultRecord | ObjectTrack) -> str:
        return self.names[item.category_id]

    def _frame(self, video: VideoRecord, t: int) -> Picture:
        if not self.has_frames:
            return blank_frame(video.height, video.width)
        from dense.video.pictures import read_picture

        path = self.dataset.frame_paths(video)[t]
        image = read_picture(path)
        if image.shape[:2] != (video.height, video.width):
            raise DataError(
                f"{path}: picture is {image.shape[1]}x{image.shape[0]} (width x height), the annotation file says"
                f" {video.width}x{video.height}. Give the frames that were annotated."
            )
        return image


def _absent(error: VideoError, masks: Sequence[RLE | None], truths: Sequence[ObjectTrack], t: int) -> str:
    """What is not to be seen in a frame, since nothing tells it from a part that is hidden under another."""
    if error.predictions and masks[0] is None:
        return ": prediction absent"
    if truths and truths[0].segmentations[t] is None:
        return f": object {truths[0].id} not visible"
    return ""


def _most_followed(track: TrackHistory) -> int | None:
    ids = [i for i in track.follows if i is not None]
    return max(ids, key=ids.count) if ids else None


def _seen(masks: Sequence[RLE | None]) -> list[bool]:
    return [mask is not None and area(mask) > 0 for mask in masks]


def _video_name(video: VideoRecord) -> str:
    return Path(video.file_names[0]).parent.name or f"video {video.id}"
