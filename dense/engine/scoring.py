"""Run a model over its test sets, write the results, score them: the part for each kind of data set is chosen here."""

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from dense.data.datasets import check_kind, with_kinds
from dense.engine.image_scoring import score_federated, score_instances, score_panoptic, score_semantic
from dense.engine.launch import Process
from dense.engine.video_map_scoring import score_video_panoptic, score_video_semantic
from dense.engine.video_scoring import score_video_instances
from dense.errors import ConfigError

if TYPE_CHECKING:
    from detectron2.config import CfgNode

__all__ = ["SCORERS", "Scorer", "evaluate_model", "find_scorer"]

logger = logging.getLogger(__name__)

Scorer = Callable[["CfgNode", nn.Module, str, Path, Process], dict[str, Any]]
"""(configuration, model, name of the data set, folder for results, process) → figures, and tables of them by category or video;
empty on other than the main process."""

SCORERS: dict[str, Scorer] = {
    "video_instance": score_video_instances,
    "video_panoptic": score_video_panoptic,
    "video_semantic": score_video_semantic,
    "image_instance": score_instances,
    "image_federated": score_federated,
    "image_panoptic": score_panoptic,
    "image_semantic": score_semantic,
}


def find_scorer(name: str, kind: str) -> Scorer:
    """What scores a model on the data set ``name``. Raises: ConfigError if there is nothing for its kind (yet)."""
    check_kind(kind, "DATASETS.DATASET_TYPE_TEST")
    if kind not in SCORERS:
        raise ConfigError(
            f"DATASETS.TEST: {name!r} ({kind}) cannot be scored in training, only {', '.join(SCORERS)} can."
            " Add `DATASETS.TEST ()` to train without."
        )
    return SCORERS[kind]


def evaluate_model(cfg: "CfgNode", model: nn.Module, process: Process) -> dict[str, float]:
    """Score a model on every set of DATASETS.TEST.

    Results are written to ``OUTPUT_DIR/inference`` (``inference/NAME`` with several sets); which files, says the part for the
    set's kind.

    Returns: figures by name (with the set's name in front if there are several), undefined ones left out; empty on processes
        other than the main one, and where the annotations are not public.
    """
    figures: dict[str, float] = {}
    sets = with_kinds(cfg.DATASETS.TEST, cfg.DATASETS.DATASET_TYPE_TEST)
    for name, kind in sets:
        scorer = find_scorer(name, kind)
        folder = Path(cfg.OUTPUT_DIR) / "inference" / (_folder_name(name) if len(sets) > 1 else "")
        scores = scorer(cfg, model, name, folder, process)
        known = {k: v for k, v in scores.items() if not isinstance(v, dict) and not math.isnan(v)}
        if known:
            logger.info("%s: %s", name, "  ".join(f"{k} {v:.2f}" for k, v in known.items()))
        prefix = f"{name}/" if len(sets) > 1 else ""
        figures |= {f"{prefix}{k}": v for k, v in known.items()}
    return figures


def _folder_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
