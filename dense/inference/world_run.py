"""Held-out world videos: made, predicted and scored; the figures beside those of the model card."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dense.data.datasets import resolve_dataset
from dense.data.formats.video_results import video_result_to_records, write_video_results
from dense.data.formats.youtube_vis import VideoDataset, VideoRecord
from dense.data.world import make_video_world
from dense.errors import DataError
from dense.evaluation.video_instances import evaluate_video_instances
from dense.inference.dataset_runs import predict_videos, video_frames
from dense.inference.model_source import zoo_weights
from dense.inference.progress import frame_progress
from dense.inference.video_predictor import VideoPredictor
from dense.io import read_json
from dense.structures import VideoResult

__all__ = ["HELD_OUT_SEED", "WorldRun", "model_card", "run_world", "score_table"]

HELD_OUT_SEED = 2027  # training used another one; the card says which
FRAMES = 24
_HEADLINE = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10")


@dataclass(frozen=True)
class WorldRun:
    """What came of a run.

    Attributes:
        dataset: the videos with their ground truth.
        results: each video with its prediction.
        scores: see ``evaluate_video_instances``.
        results_path: the result file.
    """

    dataset: VideoDataset
    results: list[tuple[VideoRecord, VideoResult]]
    scores: dict[str, Any]
    results_path: Path


def run_world(predictor: VideoPredictor, folder: Path, videos: int) -> WorldRun:
    """Make the first ``videos`` held-out videos (kept if they are there), predict and score them.

    Writes ``folder/world_N`` (the data set of N videos) and ``folder/results.json``.
    """
    world = folder / f"world_{videos}"
    make_video_world(world, seed=HELD_OUT_SEED, train_videos=0, valid_videos=videos, frames=FRAMES)
    dataset = resolve_dataset(f"{world / 'valid.json'}:{world / 'valid' / 'JPEGImages'}").read()
    ids = [category.id for category in dataset.categories]
    results, records = [], []
    with frame_progress("held-out videos", videos, unit="videos") as advance:
        for video, result in predict_videos(predictor, dataset.videos, lambda video: video_frames(dataset, video)):
            results.append((video, result))
            records += video_result_to_records(result, video.id, ids)
            advance()
    path = folder / "results.json"
    write_video_results(path, records)
    return WorldRun(dataset, results, evaluate_video_instances(dataset, path), path)


def model_card(name: str) -> dict[str, Any]:
    """The card beside a zoo model's weights; empty if there is none (own weights)."""
    path = zoo_weights(name).with_suffix(".json") if not Path(name).suffix else Path(name).with_suffix(".json")
    card = read_json(path) if path.is_file() else {}
    if not isinstance(card, dict):
        raise DataError(f"{path}: holds a {type(card).__name__}, expected an object with figures.")
    return card


def score_table(scores: dict[str, Any], card: dict[str, Any], title: str) -> Any:  # noqa: ANN401  rich's table
    """The headline figures, this run beside the card, as a rich table."""
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for heading in ("", *_HEADLINE):
        table.add_column(heading, justify="right")
    table.add_row("this run", *(_shown(scores.get(name)) for name in _HEADLINE))
    if card:
        table.add_row("model card", *(_shown(card.get(name)) for name in _HEADLINE))
    return table


def _shown(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.1f}"
