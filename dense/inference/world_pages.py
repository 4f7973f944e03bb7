"""Pictures of a world run: ground truth beside prediction as a video and as the records of the HTML page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dense.data.formats.youtube_vis import VideoDataset, VideoRecord
from dense.inference.dataset_runs import video_frames
from dense.inference.world_run import WorldRun
from dense.structures import RLE, FrameResult, Track, VideoResult
from dense.structures.rle import decode, encode
from dense.video import VideoWriter
from dense.visualization import (
    FramePair,
    Metric,
    Report,
    ReportVideo,
    draw_frame,
    draw_tracks,
    paired_rows,
    side_by_side,
)

__all__ = ["world_report", "write_world_video"]

RATE = Fraction(12)  # frames per second of the videos written
ENLARGE = 2  # world videos are small; outlines and labels are drawn on enlarged frames
MIN_SCORE = 0.3
_METRICS = ("AP", "AP50", "AP75", "AR1", "AR10")


def write_world_video(run: WorldRun, path: Path) -> Path:
    """All videos one after another, ground truth on the left, prediction on the right."""
    with VideoWriter(path, rate=RATE) as writer:
        for video, result in run.results:
            for truth, prediction in drawn_pairs(run.dataset, video, result):
                writer.write(side_by_side(truth, prediction, ("ground truth", "prediction")))
    return path


def world_report(run: WorldRun, card: Mapping[str, Any], figures: Mapping[str, Any], facts: Mapping[str, Any]) -> Report:
    """The page of a scored run; ``figures`` are the card's for as many videos."""
    per_category = [
        (name, ap, (figures.get("per_category") or {}).get(name)) for name, ap in run.scores["per_category"].items()
    ]
    return Report(
        title="Video instance segmentation on held-out world videos",
        summary=[Metric(name, run.scores[name], figures.get(name)) for name in _METRICS],
        per_category=per_category,
        videos=[_report_video(run.dataset, video, result) for video, result in run.results],
        facts=dict(facts),
        notes=[str(card["summary"])] if "summary" in card else [],
    )


def _report_video(dataset: VideoDataset, video: VideoRecord, result: VideoResult) -> ReportVideo:
    pairs = list(drawn_pairs(dataset, video, result))
    truth, names = _truth_tracks(dataset, video), dataset.category_names
    shown = sorted({0, video.length // 3, 2 * video.length // 3, video.length - 1})
    return ReportVideo(
        name=Path(video.file_names[0]).parent.name or f"video {video.id}",
        times_s=[float(t / RATE) for t in range(video.length)],
        tracks=paired_rows(truth, shown_tracks(truth, result, names), names, min_score=MIN_SCORE),
        frames=[FramePair(t, pairs[t][1], pairs[t][0]) for t in shown],
        mp4=_encoded([prediction for _, prediction in pairs]),
    )


def shown_tracks(truth: Sequence[Track], result: VideoResult, names: Sequence[str]) -> list[Track]:
    """The prediction as it is drawn: one track per object, numbered (so coloured) like the ground truth it matches.

    The result lists an object once per likely class, the best is taken; tracks that match nothing get the numbers after.
    """
    best: dict[int, Track] = {}
    for track in sorted(result.tracks, key=lambda track: -track.score):
        if track.score >= MIN_SCORE:
            best.setdefault(track.track_id, track)
    rows = paired_rows(truth, list(best.values()), names, min_score=MIN_SCORE)
    matched = {row.track_id: row.match for row in rows if not row.ground_truth and row.match is not None}
    free = count(len(truth) + 1)
    return [replace(track, track_id=matched[i] if i in matched else next(free)) for i, track in best.items()]


def drawn_pairs(
    dataset: VideoDataset, video: VideoRecord, result: VideoResult
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Enlarged frames with the ground truth drawn in, and with the prediction drawn in."""
    truth = _truth_tracks(dataset, video)
    names = dataset.category_names
    tracks = shown_tracks(truth, result, names)
    for t, image in enumerate(video_frames(dataset, video)):
        large = _enlarge_image(image)
        left = draw_tracks(
            large, [_enlarge_mask(k.masks[t]) for k in truth], [k.track_id for k in truth], [names[k.label] for k in truth]
        )
        yield left, draw_frame(large, _frame_result(t, large, tracks), names, min_score=MIN_SCORE)


def _frame_result(t: int, image: NDArray[np.uint8], tracks: Sequence[Track]) -> FrameResult:
    seen = [(track, _enlarge_mask(track.masks[t])) for track in tracks]
    visible = [(track, mask) for track, mask in seen if mask is not None]
    return FrameResult(
        index=t,
        time_s=float(t / RATE),
        height=image.shape[0],
        width=image.shape[1],
        track_ids=[track.track_id for track, _ in visible],
        labels=[track.label for track, _ in visible],
        scores=[track.score for track, _ in visible],
        masks=[mask for _, mask in visible],
    )


def _truth_tracks(dataset: VideoDataset, video: VideoRecord) -> list[Track]:
    return [
        Track(number, dataset.contiguous_id(track.category_id), 1.0, [track.rle(t) for t in range(video.length)])
        for number, track in enumerate(video.tracks, start=1)
    ]


def _enlarge_image(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    from PIL import Image

    height, width = image.shape[:2]
    return np.asarray(Image.fromarray(image).resize((width * ENLARGE, height * ENLARGE), Image.Resampling.BICUBIC))


def _enlarge_mask(mask: RLE | None) -> RLE | None:
    """The mask at the enlarged size, its steps smoothed by interpolation."""
    from PIL import Image

    if mask is None:
        return None
    picture = Image.fromarray(decode(mask).astype(np.uint8) * 255)
    large = picture.resize((picture.width * ENLARGE, picture.height * ENLARGE), Image.Resampling.BICUBIC)
    return encode(np.asarray(large) >= 128)


def _encoded(frames: Sequence[NDArray[np.uint8]]) -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        with VideoWriter(path, rate=RATE, quality=26) as writer:
            for frame in frames:
                writer.write(frame)
        return path.read_bytes()
