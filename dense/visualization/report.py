"""One self-contained HTML page about a run on videos: figures, videos, frames, track timelines; works offline."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from dense.errors import DataError, DependencyError
from dense.io import atomic_write
from dense.visualization.charts import Segment, defined, frame_edges, segments, sorted_bars, time_ticks
from dense.visualization.error_section import ErrorSection, error_view
from dense.visualization.media import Picture, picture_address, video_address, video_bytes
from dense.visualization.palette import hex_color, track_color

__all__ = ["NO_OBJECT", "FramePair", "Metric", "Report", "ReportVideo", "TrackRow", "render_report", "write_report"]


NO_OBJECT = (154, 161, 171)  # colour of a prediction where it follows no object


@dataclass(frozen=True)
class Metric:
    """One headline figure.

    Attributes:
        name: for instance ``"AP50"``.
        value: this run, in percent; ``None``, not-a-number or negative where undefined.
        model_card: what the model card states, in percent; ``None`` if it states nothing.
    """

    name: str
    value: float | None
    model_card: float | None = None


@dataclass(frozen=True)
class FramePair:
    """One example frame: each picture is a ``(H, W, 3)`` uint8 RGB array, PNG or JPEG bytes, or the path of such a file.

    Attributes:
        index: frame number from 0.
        prediction: picture with the model's output drawn in.
        ground_truth: picture with the ground truth drawn in, ``None`` if there is none.
    """

    index: int
    prediction: Picture
    ground_truth: Picture | None = None


@dataclass(frozen=True)
class TrackRow:
    """One object's row in a timeline.

    Attributes:
        track_id: identity within the ground truth or within the prediction.
        label: category name.
        score: class probability in [0, 1]; ``None`` for ground truth.
        color: ``(r, g, b)`` 0 to 255; ``None`` takes ``track_color(track_id)``.
        seen: one entry per frame: is the object seen in it?
        ground_truth: does the row come from the ground truth?
        iou: video IoU in [0, 1] with the matched ground truth, ``None`` if unmatched.
        match: ``track_id`` of the matched ground truth row, beside which a prediction is shown.
        follows: of a prediction: ``track_id`` of the ground truth row it lies on in each frame, or ``None``; its colours then.
        switches: frames in which a prediction changes to another object; marked.
        note: shown behind the label, for instance the kind of error.
    """

    track_id: int
    label: str
    score: float | None
    seen: Sequence[bool]
    color: tuple[int, int, int] | None = None
    ground_truth: bool = False
    iou: float | None = None
    match: int | None = None
    follows: Sequence[int | None] | None = None
    switches: Sequence[int] = ()
    note: str = ""


@dataclass(frozen=True)
class ReportVideo:
    """One video of the page.

    Attributes:
        name: heading.
        times_s: presentation time of each frame in seconds, increasing.
        tracks: rows of the timeline, ground truth and prediction in any order.
        frames: example frames.
        mp4: video with the prediction drawn in, H.264 in MP4, as bytes or path; ``None`` shows frames only.
        in_frames: the frame rate is unknown: ``times_s`` counts frames, and so does the page.
    """

    name: str
    times_s: Sequence[float]
    tracks: Sequence[TrackRow] = ()
    frames: Sequence[FramePair] = ()
    mp4: bytes | Path | None = None
    in_frames: bool = False


@dataclass(frozen=True)
class Report:
    """The whole page.

    Attributes:
        title: heading.
        summary: headline figures; empty where there is no ground truth.
        per_category: ``(name, AP, AP of the model card or None)``, in percent, undefined as in ``Metric``.
        videos: in the order shown.
        facts: what was run, by name: model, weights, date, machine …; a list of strings is shown as command lines.
        notes: paragraphs under the title.
        errors: what was lost by which kind of error.
    """

    title: str
    summary: Sequence[Metric] = ()
    per_category: Sequence[tuple[str, float | None, float | None]] = ()
    videos: Sequence[ReportVideo] = ()
    facts: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    errors: ErrorSection | None = None


@dataclass(frozen=True)
class _Row:
    """A timeline row ready to draw: ``colors`` of its segments, ``switches`` as (frame, time in seconds, x in percent)."""

    row: TrackRow
    color: str
    segments: list[Segment]
    colors: list[str]
    switches: list[tuple[int, float, float]]
    opens_group: bool

    @property
    def frames_seen(self) -> int:
        return sum(bool(seen) for seen in self.row.seen)


def write_report(report: Report, path: str | os.PathLike[str], *, video_budget: int = 3_000_000) -> Path:
    """Write the page atomically.

    Args:
        report: what to show.
        path: target ``.html`` file.
        video_budget: bytes of MP4 to embed; videos are taken in order while they fit, the others show frames only.

    Returns: the path written.
    Raises: DataError if a picture, video or track row is wrong, or the file cannot be written;
        DependencyError without jinja2.
    """
    page = render_report(report, video_budget=video_budget)
    with atomic_write(path) as stream:
        stream.write(page)
    return Path(path)


def render_report(report: Report, *, video_budget: int = 3_000_000) -> str:
    """The page as text; arguments and errors as in ``write_report``."""
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise DependencyError(
            "jinja2 is missing, which writes the HTML report; install dense-toolbox[report] or jinja2."
        ) from error
    environment = Environment(
        loader=PackageLoader("dense.visualization", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = _percent
    environment.filters["points"] = lambda value: "–" if value is None else f"{value:.2f}"
    views, left = [], video_budget
    for number, video in enumerate(report.videos):
        view = _video_view(video, f"video-{number + 1}", left)
        left -= view["mp4_size"]
        views.append(view)
    metrics = [(m.name, defined(m.value), defined(m.model_card)) for m in report.summary]
    bars = sorted_bars(report.per_category)
    page: str = environment.get_template("report.html.j2").render(
        report=report,
        metrics=metrics,
        columns=_columns(len(metrics)),
        has_card=any(card is not None for _, _, card in metrics),
        bars=bars,
        has_reference=any(bar.reference is not None for bar in bars),
        videos=views,
        difference=_difference,
        errors=None if report.errors is None else error_view(report.errors),
    )
    return page.encode("utf-8", "replace").decode("utf-8")  # JSON can hold half characters, which no file can


def _video_view(video: ReportVideo, anchor: str, budget: int) -> dict[str, Any]:
    """What the template shows of one video; ``budget`` is how many bytes of MP4 may still be embedded."""
    _check_video(video)
    edges = frame_edges(video.times_s)
    mp4 = None if video.mp4 is None else video_bytes(video.mp4)
    embedded = mp4 if mp4 is not None and len(mp4) <= budget else None
    return {
        "anchor": anchor,
        "name": video.name,
        "mp4": video_address(embedded) if embedded else None,
        "mp4_size": len(embedded) if embedded else 0,
        "left_out": mp4 is not None and embedded is None,
        "frames": [_frame_view(frame, video.times_s) for frame in video.frames],
        "rows": _rows(video),
        "ticks": time_ticks(video.times_s, unit="" if video.in_frames else "s"),
        "in_frames": video.in_frames,
        "num_frames": len(video.times_s),
        "start_s": edges[0],
        "end_s": edges[-1],
        "has_truth": any(row.ground_truth for row in video.tracks),
        "has_follows": any(row.follows is not None for row in video.tracks),
        "num_switches": sum(len(row.switches) for row in video.tracks),
    }


def _frame_view(frame: FramePair, times_s: Sequence[float]) -> dict[str, Any]:
    return {
        "index": frame.index,
        "time_s": float(times_s[frame.index]),
        "prediction": picture_address(frame.prediction),
        "ground_truth": None if frame.ground_truth is None else picture_address(frame.ground_truth),
    }


def _rows(video: ReportVideo) -> list[_Row]:
    """Each ground truth row, then the predictions matched to it, best first; then the predictions matched to nothing."""
    truth = [row for row in video.tracks if row.ground_truth]
    guesses = sorted((row for row in video.tracks if not row.ground_truth), key=lambda row: -(row.score or 0.0))
    known = {row.track_id for row in truth}
    groups = [[row, *(g for g in guesses if g.match == row.track_id)] for row in truth]
    groups += [[row] for row in guesses if row.match not in known]
    colors: dict[int | None, str] = {None: hex_color(NO_OBJECT)}
    colors.update((row.track_id, _color(row)) for row in truth)
    return [_row(row, video, colors, place == 0) for group in groups for place, row in enumerate(group)]


def _row(row: TrackRow, video: ReportVideo, colors: Mapping[int | None, str], opens_group: bool) -> _Row:
    """``colors`` are those of the ground truth, and of nothing (``None``)."""
    found = segments(row.seen, video.times_s, row.follows)
    edges = frame_edges(video.times_s)
    marks = [(t, edges[t], round(100 * (edges[t] - edges[0]) / (edges[-1] - edges[0]), 4)) for t in row.switches]
    color = _color(row)
    followed = [color if row.follows is None else colors.get(s.part, colors[None]) for s in found]
    return _Row(row, color, found, followed, marks, opens_group)


def _color(row: TrackRow) -> str:
    return hex_color(row.color or track_color(row.track_id))


def _check_video(video: ReportVideo) -> None:
    times = list(video.times_s)
    if any(b <= a for a, b in pairwise(times)):
        raise DataError(f"{video.name}: times_s must increase from frame to frame.")
    for row in video.tracks:
        if row.follows is not None and len(row.follows) != len(times):
            raise DataError(
                f"{video.name}: track {row.track_id} has {len(row.follows)} entries in `follows`, expected {len(times)}."
            )
        if not all(0 <= t < len(times) for t in row.switches):
            raise DataError(f"{video.name}: track {row.track_id} switches in a frame that is not one of the {len(times)}.")
        if len(row.seen) != len(times):
            raise DataError(f"{video.name}: track {row.track_id} has {len(row.seen)} entries in `seen`, expected {len(times)}.")
    for frame in video.frames:
        if not 0 <= frame.index < len(times):
            raise DataError(f"{video.name}: example frame {frame.index}, expected 0 to {len(times) - 1}.")


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _difference(value: float, card: float) -> str:
    """``"+0.3"``, ``"−1.2"`` or ``"±0.0"`` against the model card."""
    change = round(value, 1) - round(card, 1)
    sign = "±" if abs(change) < 0.05 else "+" if change > 0 else "−"
    return f"{sign}{abs(change):.1f}"


def _columns(count: int) -> int:
    """Columns that leave the fewest gaps in the last line, at most five."""
    return count if count <= 5 else min((4, 5, 3), key=lambda columns: -count % columns)
