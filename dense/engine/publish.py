"""Publishing: a training checkpoint → float16 weights that carry their configuration, and a model card with figures."""

import argparse
import json
import math
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dense.checkpoint.reading import read_checkpoint, read_state_dict
from dense.checkpoint.writing import file_hash, save_weights
from dense.command_line import new_parser, run_command
from dense.config import load_config
from dense.config.architectures import is_detector
from dense.data.world.map_writer import make_map_world
from dense.data.world.parameters import WorldParameters
from dense.engine.launch import Process
from dense.engine.scoring import evaluate_model
from dense.errors import CheckpointError, DataError
from dense.inference.model_source import load_model
from dense.inference.video_predictor import VideoPredictor
from dense.inference.world_run import FRAMES, HELD_OUT_SEED, run_world
from dense.io import atomic_write, read_json, write_json

if TYPE_CHECKING:
    from detectron2.config import CfgNode

__all__ = ["main", "publish", "without_base"]

_INSTANCE_COLUMNS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10")
_SIZES = (12, 40)  # held-out videos: of `make demo`, of `make eval-world`
_MAP_VIDEOS = 12


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line: 0 done, 1 wrong input."""
    parser = new_parser(
        "publish_model.py",
        "Turn a checkpoint of a world model into shipped weights and their model card; video models are scored.",
    )
    parser.add_argument("--config-file", required=True, metavar="FILE")
    parser.add_argument("--checkpoint", required=True, type=Path, metavar="FILE", help="model_NNNNNNN.pth of a run")
    parser.add_argument("--name", required=True, help="file name without extension")
    parser.add_argument("--facts", required=True, type=Path, metavar="FILE", help="JSON: summary, training, licences, …")
    parser.add_argument(
        "--base", type=Path, metavar="FILE", help="published weights of the parts before; only others are written"
    )
    parser.add_argument(
        "--partly-changed", action="store_true", help="parts that --base has may have changed: what differs is written too"
    )
    parser.add_argument(
        "--without", nargs="+", default=[], metavar="PREFIX", help="leave out tensors whose names begin so (as target_)"
    )
    parser.add_argument("--output", type=Path, default=Path("weights"), metavar="DIR", help="default %(default)s")
    arguments = parser.parse_args(argv)

    def work() -> None:
        sys.stdout.write(f"{publish(arguments)}\n")

    return run_command(work, debug=arguments.debug)


def publish(arguments: argparse.Namespace) -> Path:
    """Write ``NAME.safetensors``, ``NAME.json`` (the card for programs) and ``NAME.md`` (the card for people).

    Returns: the weights' path. Raises: CheckpointError, ConfigError, DataError for input that is not what it should be.
    """
    state = read_checkpoint(arguments.checkpoint)
    missing = [name for name in ("model", "step") if name not in state]
    if missing:
        raise CheckpointError(f"{arguments.checkpoint}: is no training checkpoint (no {', '.join(missing)} inside).")
    facts = read_json(arguments.facts)
    if not isinstance(facts, dict):
        raise DataError(f"{arguments.facts}: is a {type(facts).__name__}, expected an object with summary, training, licences.")
    tensors = {**state["model"], **state.get("averaged", {})}
    tensors = {name: t for name, t in tensors.items() if not name.startswith(tuple(arguments.without))}
    cfg = load_config(arguments.config_file)
    metadata = {"config": cfg.dump()}
    if arguments.base is not None:
        tensors = without_base(tensors, arguments.base, arguments.partly_changed)
        metadata |= {"base": arguments.base.name, "base_sha256": file_hash(arguments.base)}
    path = arguments.output / f"{arguments.name}.safetensors"
    scored = _written if is_detector(cfg) or not cfg.DATASETS.TEST else _scored
    measured = scored(cfg, path, tensors, metadata)
    card = {
        "name": arguments.name,
        **facts,
        "config": str(arguments.config_file),
        "steps": int(state["step"]),
        "bytes": path.stat().st_size,
        "sha256": file_hash(path),
        **measured,
    }
    write_json(path.with_suffix(".json"), card, indent=1)
    with atomic_write(path.with_suffix(".md")) as stream:
        stream.write(_text(card))
    return path


def without_base(tensors: dict[str, torch.Tensor], base: Path, partly_changed: bool = False) -> dict[str, torch.Tensor]:
    """The tensors that ``base`` does not have.

    Args:
        tensors: of the whole model.
        base: published weights that it was trained over.
        partly_changed: also those that have other values there, because they were trained on.

    Raises: CheckpointError if one that it has is not the same, unless ``partly_changed``: then it is not what was trained over.
    """
    known = read_state_dict(base)
    kept = {name: tensor for name, tensor in tensors.items() if name not in known}
    changed = [n for n, t in tensors.items() if n in known and not _equal(t, known[n])]
    if changed and not partly_changed:
        raise CheckpointError(f"{base}: {changed[0]} and {len(changed) - 1} more have other values in the checkpoint.")
    return {**kept, **{name: tensors[name] for name in changed}}


def _equal(tensor: torch.Tensor, known: torch.Tensor) -> bool:
    return tensor.shape == known.shape and torch.equal(tensor.to(known.dtype), known)


def _written(cfg: "CfgNode", path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> dict[str, Any]:
    """Of a pretraining, which has no test sets, and of a detector: the figures are among the facts."""
    save_weights(path, tensors, dtype=torch.float16, metadata=metadata)
    return {"parameters": sum(t.numel() for t in tensors.values() if t.is_floating_point())}


def _scored(cfg: "CfgNode", path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> dict[str, Any]:
    """Of a video model: figures on held-out videos."""
    categories = json.dumps(load_model(cfg).categories)
    save_weights(path, tensors, dtype=torch.float16, metadata={**metadata, "categories": categories})
    predictor = VideoPredictor(path)
    with tempfile.TemporaryDirectory() as folder:
        task = cfg.MODEL.MASK_FORMER.TEST.TASK
        figures = _instance_figures(predictor, Path(folder)) if task == "vis" else _map_figures(path, Path(folder), task)
    return {
        "parameters": sum(p.numel() for p in predictor.model.parameters()),
        "evaluation": f"held-out world videos of seed {HELD_OUT_SEED}, 24 frames of 192x320",
        "figures": figures,
    }


def _instance_figures(predictor: VideoPredictor, folder: Path) -> dict[str, dict[str, Any]]:
    return {f"{n} videos": _rounded(run_world(predictor, folder / str(n), n).scores) for n in _SIZES}


def _map_figures(weights: Path, folder: Path, trained: str) -> dict[str, dict[str, Any]]:
    """Panoptic and semantic figures of the same weights on the same scenes; semantic ones alone if trained for those."""
    figures = {}
    for task, (layout, kind) in {"vps": ("vipseg", "video_panoptic"), "vss": ("vspw", "video_semantic")}.items():
        if trained == "vss" and task == "vps":
            continue
        make_map_world(folder / f"world_{layout}", layout, WorldParameters(HELD_OUT_SEED, 0, _MAP_VIDEOS, FRAMES, 192, 320, 1))
        keys = ["MODEL.MASK_FORMER.TEST.TASK", task, "DATASETS.TEST", (f"world_{layout}_val",), "OUTPUT_DIR", str(folder)]
        source = load_model(weights, [*keys, "DATASETS.DATASET_TYPE_TEST", [kind]])
        before = os.environ.get("DETECTRON2_DATASETS")
        os.environ["DETECTRON2_DATASETS"] = str(folder)
        try:
            figures[f"{_MAP_VIDEOS} videos, {task}"] = _rounded(evaluate_model(source.cfg, source.model, Process()))
        finally:
            os.environ.pop("DETECTRON2_DATASETS") if before is None else os.environ.update(DETECTRON2_DATASETS=before)
    return figures


def _rounded(scores: dict[str, Any]) -> dict[str, Any]:
    """Figures with two digits; undefined ones ``None``."""
    return {k: _rounded(v) if isinstance(v, dict) else None if math.isnan(v) else round(float(v), 2) for k, v in scores.items()}


def _columns(scores: dict[str, Any]) -> list[str]:
    """AP by size and recall, of instances; else all figures that are not by category."""
    plain = [name for name, value in scores.items() if not isinstance(value, dict)]
    return [name for name in _INSTANCE_COLUMNS if name in scores] if "AP" in scores else plain


def _text(card: dict[str, Any]) -> str:
    lines = [f"# {card['name']}", "", str(card.get("summary", "")), ""]
    heads = [_columns(scores) for scores in card["figures"].values()]
    for i, ((label, scores), head) in enumerate(zip(card["figures"].items(), heads, strict=True)):
        if not i or head != heads[i - 1]:  # other figures: a table of their own
            lines += [""] * bool(i) + ["| | " + " | ".join(head) + " |", "|---" * (len(head) + 1) + "|"]
        cells = ("–" if scores[name] is None else f"{scores[name]:.1f}" for name in head)
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    lines += ["", f"Evaluation: {card['evaluation']}.", ""]
    for key, value in card.items():
        if key in {"name", "summary", "figures", "evaluation"}:
            continue
        if isinstance(value, dict):
            lines += [f"**{key}**", "", *(f"- {k}: {v}" for k, v in value.items()), ""]
        else:
            lines += [f"- {key}: {value}"]
    return "\n".join(lines) + "\n"
