"""Score a model on a set of videos: write the result file, then average precision."""

from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from dense.data.datasets import resolve_dataset
from dense.data.formats.video_results import video_result_to_records, write_video_results
from dense.engine.launch import Process
from dense.engine.result_files import score_written
from dense.evaluation.video_instances import evaluate_video_instances
from dense.inference.dataset_runs import predict_videos, video_frames
from dense.inference.network_input import NetworkInput
from dense.inference.video_predictor import VideoPredictor

if TYPE_CHECKING:
    from detectron2.config import CfgNode

__all__ = ["score_video_instances"]


def score_video_instances(cfg: "CfgNode", model: nn.Module, name: str, folder: Path, process: Process) -> dict[str, float]:
    """Writes ``results.json``; no figures where the annotations are not public. See ``dense.engine.scoring.evaluate_model``."""
    dataset = resolve_dataset(name).read()
    predictor = VideoPredictor(
        model,
        max_objects=cfg.MODEL.MASK_FORMER.TEST.MAX_NUM,
        categories=dataset.category_names,
    )
    predictor.input = NetworkInput.from_config(cfg.INPUT)
    mine = dataset.videos[process.rank :: process.world_size]
    ids = [category.id for category in dataset.categories]
    found = [
        record
        for video, result in predict_videos(predictor, mine, lambda video: video_frames(dataset, video))
        for record in video_result_to_records(result, video.id, ids)
    ]
    records = sorted(process.gather(found), key=lambda r: (r.video_id, -r.score))
    if not process.is_main:
        return {}
    path = folder / "results.json"
    write_video_results(path, records)
    return score_written(name, path, lambda: evaluate_video_instances(dataset, path))
