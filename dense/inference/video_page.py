"""The HTML page of a user's own video, from the files that ``demo-video`` wrote: no ground truth, tracks and example frames."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dense.video import open_frames
from dense.visualization import FramePair, Report, ReportVideo, TrackRow, segment_color, track_color, write_report

__all__ = ["own_video_report", "write_own_page"]

_BUDGET = 60_000_000  # bytes of the user's annotated video that the page may embed; a browser still opens that quickly


def own_video_report(
    label: str, lines: Path, video: Path, facts: Mapping[str, str | Sequence[str]], notes: Sequence[str] = ()
) -> Report:
    """The page as records.

    Args:
        label: what the source is called.
        lines: ``predictions.jsonl``.
        video: the annotated video.
        facts: what was run.
        notes: paragraphs under the title, after the one that says that there is no ground truth.

    Returns: one row per object, per segment of a panoptic video, or per class of a semantic one.
    """
    with lines.open(encoding="utf-8") as file:
        next(file)  # header
        records = [json.loads(text) for text in file]
    rows: dict[int, dict[str, Any]] = {}
    for t, record in enumerate(records):
        for identity, shown in _found(record):
            row = rows.setdefault(identity, {"seen": [False] * len(records)})
            row |= shown
            row["seen"][t] = True
    name = Path(label).name or label
    tracks = [TrackRow(identity, **row) for identity, row in rows.items()]
    times = [record["time_s"] for record in records]
    return Report(
        title=f"Objects in {name}",
        videos=[ReportVideo(name, times, tracks, _examples(video, len(records)), video)],
        facts=dict(facts),
        notes=["No ground truth: tracks and example frames only.", *notes],
    )


def write_own_page(report: Report, path: Path) -> Path:
    """Write the page, with the video in it unless that is very large; returns its path."""
    return write_report(report, path, video_budget=_BUDGET)


def _found(record: Mapping[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    """Id, and what a row of the time line shows, of everything in one frame."""
    objects = [(o["track_id"], {"label": o["category"], "score": o["score"]}) for o in record.get("objects", ())]
    segments = [
        (s["id"], {"label": s["category"], "score": None, "color": segment_color(s["id"], s["label"], s["isthing"])})
        for s in record.get("segments", ())
    ]
    classes = [
        (k["label"], {"label": k["category"], "score": None, "color": track_color(k["label"])})
        for k in record.get("classes", ())
    ]
    return [*objects, *segments, *classes]


def _examples(video: Path, frames: int) -> list[FramePair]:
    """Four annotated frames, read back from the video one at a time."""
    wanted = {0, frames // 3, 2 * frames // 3, frames - 1}
    with open_frames(video) as source:
        return [FramePair(frame.index, frame.image) for frame in source if frame.index in wanted]
