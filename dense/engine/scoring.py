"""Run a model over its test sets, write the result files, score them."""

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from dense.data.datasets import resolve_dataset
from dense.data.formats.video_results import ResultRecord, video_result_to_records, write_video_results
from dense.data.formats.youtube_vis import AnnotationsMissingError, VideoDataset
from dense.evaluation.video_instances import evaluate_video_instances
from dense.inference.dataset_runs import predict_videos
from dense.inference.video_predictor import VideoPredictor

if TYPE_CHECKING:
    from detectron2.config import CfgNode

    from dense.engine.launch import Process

__all__ = ["evaluate_model"]

logger = logging.getLogger(__name__)


def evaluate_model(cfg: "CfgNode", model: nn.Module, process: "Process") -> dict[str, float]:
    """Score a model on every set of DATASETS.TEST.

    Writes ``OUTPUT_DIR/inference/results.json`` (``inference/NAME/results.json`` with several sets).

    Returns: figures by name (with the set's name in front if there are several); empty on processes other than the main one,
        and where the annotations are not public.
    """
    figures: dict[str, float] = {}
    several = len(cfg.DATASETS.TEST) > 1
    for name in cfg.DATASETS.TEST:
        dataset = resolve_dataset(name).read()
        folder = Path(cfg.OUTPUT_DIR) / "inference" / (_folder_name(name) if several else "")
        predictor = VideoPredictor(
            model,
            min_size=cfg.INPUT.MIN_SIZE_TEST,
            max_size=cfg.INPUT.MAX_SIZE_TEST,
            max_objects=cfg.MODEL.MASK_FORMER.TEST.MAX_NUM,
            categories=dataset.category_names,
        )
        predictor.bgr = cfg.INPUT.FORMAT == "BGR"
        mine = dataset.videos[process.rank :: process.world_size]
        ids = [category.id for category in dataset.categories]
        found = [
            record
            for video, result in predict_videos(predictor, dataset, mine)
            for record in video_result_to_records(result, video.id, ids)
        ]
        records = sorted(_gather(found, process), key=lambda r: (r.video_id, -r.score))
        if not process.is_main:
            continue
        path = folder / "results.json"
        write_video_results(path, records)
        logger.info("%s: wrote %s", name, path)
        prefix = f"{name}/" if several else ""
        figures |= {f"{prefix}{k}": v for k, v in _score(dataset, path, name).items()}
    return figures


def _gather(records: list[ResultRecord], process: "Process") -> list[ResultRecord]:
    if process.world_size == 1:
        return records
    parts: list[Any] = [None] * process.world_size
    torch.distributed.all_gather_object(parts, records)
    return [record for part in parts for record in part]


def _score(dataset: VideoDataset, path: Path, name: str) -> dict[str, float]:
    try:
        scores = evaluate_video_instances(dataset, path)
    except AnnotationsMissingError as error:
        logger.info("%s: evaluation skipped: %s", name, error)
        return {}
    figures = {k: v for k, v in scores.items() if k != "per_category"}
    logger.info("%s: %s", name, "  ".join(f"{k} {v:.2f}" for k, v in figures.items() if not math.isnan(v)))
    return {k: v for k, v in figures.items() if not math.isnan(v)}


def _folder_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
