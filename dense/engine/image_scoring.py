"""Score a model on a set of images, one function per kind: write the results, then average precision, PQ or mean IoU."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from torch import nn

from dense.config.architectures import is_detector, needs_masks
from dense.data.categories import WordSplit
from dense.data.datasets import novel_names, resolve_federated, resolve_instances, resolve_panoptic, resolve_semantic
from dense.data.datasets.pascal_voc import VocSource
from dense.data.formats.coco import ImageDataset
from dense.data.formats.coco_panoptic import PanopticDataset
from dense.data.formats.image_results import Detection, image_result_to_detections, panoptic_result_record, write_detections
from dense.data.formats.png_ids import write_id_map, write_label_map
from dense.engine.launch import Process
from dense.engine.result_files import score_written
from dense.errors import ConfigError
from dense.evaluation.instances import evaluate_instances
from dense.evaluation.lvis import evaluate_lvis, evaluate_lvis_fixed
from dense.evaluation.open_vocabulary import evaluate_open_vocabulary
from dense.evaluation.panoptic import evaluate_panoptic
from dense.evaluation.pascal_voc import evaluate_voc
from dense.evaluation.semantic import ConfusionMatrix
from dense.inference.dataset_runs import predict_images
from dense.inference.image_predictor import ImagePredictor
from dense.inference.network_input import NetworkInput
from dense.io import write_json
from dense.structures import ImageResult

if TYPE_CHECKING:
    from detectron2.config import CfgNode

__all__ = ["score_federated", "score_instances", "score_panoptic", "score_semantic"]


def score_instances(cfg: "CfgNode", model: nn.Module, name: str, folder: Path, process: Process) -> dict[str, float]:
    """Writes ``results.json`` (boxes and masks); average precision of the masks, for a detector of its boxes too.

    A set with novel categories gets the figures of ``evaluate_open_vocabulary`` too.
    """
    source = resolve_instances(name)
    dataset = source.read(masks=needs_masks(cfg))
    detections = _detections(cfg, model, dataset, process)
    if detections is None:
        return {}
    path = folder / "results.json"
    write_detections(path, detections)
    if isinstance(source, VocSource):
        figures = score_written(name, path, partial(evaluate_voc, dataset, detections, source.year == 2007))
        return _prefixed("bbox", figures)
    if not is_detector(cfg):
        return score_written(name, path, lambda: evaluate_instances(dataset, detections))
    novel = novel_names(name)
    both: dict[str, float] = {}
    for overlap in _overlaps(cfg):
        figures = score_written(name, path, partial(evaluate_instances, dataset, detections, overlap))
        if figures and novel:
            split = WordSplit(tuple(word for word in dataset.category_names if word not in novel), novel)
            figures = _with_parts(figures, evaluate_open_vocabulary(dataset, detections, split, overlap))
        both |= _prefixed(overlap, figures)
    return both


def score_federated(cfg: "CfgNode", model: nn.Module, name: str, folder: Path, process: Process) -> dict[str, float]:
    """Writes ``results.json``; AP of LVIS, fixed AP (``fixed_AP`` …), and AP of base and novel (rare) categories.

    A detector's boxes are scored, and with MODEL.MASK_ON its masks; of other models the masks.
    """
    truth = resolve_federated(name).read(masks=needs_masks(cfg))
    dataset = truth.objects
    detections = _detections(cfg, model, dataset, process)
    if detections is None:
        return {}
    path = folder / "results.json"
    write_detections(path, detections)
    split = WordSplit(
        tuple(category.name for category in dataset.categories if truth.frequencies[category.id] != "r"),
        tuple(category.name for category in dataset.categories if truth.frequencies[category.id] == "r"),
    )
    both: dict[str, float] = {}
    for overlap in _overlaps(cfg):
        figures = score_written(name, path, partial(evaluate_lvis, truth, detections, overlap))
        if figures:
            fixed = evaluate_lvis_fixed(truth, detections, overlap)
            figures |= {f"fixed_{key}": fixed[key] for key in ("AP", "APr", "APc", "APf")}
            figures = _with_parts(figures, evaluate_open_vocabulary(truth, detections, split, overlap))
        both |= _prefixed(overlap, figures)
    return both


def _detections(cfg: "CfgNode", model: nn.Module, dataset: ImageDataset, process: Process) -> list[Detection] | None:
    """What the model finds in all images, in a fixed order; ``None`` on other than the main process."""
    predictor = _predictor(cfg, model, dataset.category_names, "instance")
    ids = [category.id for category in dataset.categories]
    found = [
        detection
        for image, result in _predictions(predictor, dataset, process)
        for detection in image_result_to_detections(result, image.id, ids)
    ]
    detections = sorted(process.gather(found), key=lambda d: (d.image_id, -d.score))
    return detections if process.is_main else None


def _overlaps(cfg: "CfgNode") -> tuple[Literal["bbox", "segm"], ...]:
    """What is scored: a detector's boxes and, where it has them, masks; of other models the masks."""
    if not is_detector(cfg):
        return ("segm",)
    return ("bbox", "segm") if needs_masks(cfg) else ("bbox",)


def _with_parts(figures: dict[str, Any], parts: dict[str, Any]) -> dict[str, Any]:
    """``figures`` and those of base and novel categories; the table by category stays last."""
    added = {key: value for key, value in parts.items() if key.endswith(("_novel", "_base"))}
    return {**{k: v for k, v in figures.items() if k != "per_category"}, **added, "per_category": figures["per_category"]}


def _prefixed(prefix: str, figures: dict[str, Any]) -> dict[str, Any]:
    return {f"{prefix}/{name}": value for name, value in figures.items()}


def score_panoptic(cfg: "CfgNode", model: nn.Module, name: str, folder: Path, process: Process) -> dict[str, float]:
    """Writes ``panoptic.json`` and ``panoptic/*.png``; panoptic quality."""
    dataset = resolve_panoptic(name).read()
    predictor = _predictor(cfg, model, dataset.category_names, "panoptic")
    ids = [category.id for category in dataset.categories]
    found = []
    for image, result in _predictions(predictor, dataset, process):
        if result.panoptic is None:
            raise AssertionError("the panoptic task is on, so there must be a map")
        write_id_map(folder / "panoptic" / image.png_name, result.panoptic)
        found.append(panoptic_result_record(result, image.id, image.png_name, ids))
    records = sorted(process.gather(found), key=lambda r: int(r["image_id"]))
    if not process.is_main:
        return {}
    path = folder / "panoptic.json"
    write_json(path, {"annotations": records})
    return score_written(name, path, lambda: evaluate_panoptic(dataset, None, path, folder / "panoptic"))


def score_semantic(cfg: "CfgNode", model: nn.Module, name: str, folder: Path, process: Process) -> dict[str, float]:
    """Writes ``semantic/*.png`` (class indices); mean IoU."""
    dataset = resolve_semantic(name).read()
    predictor = _predictor(cfg, model, dataset.category_names, "semantic")
    matrix = ConfusionMatrix(len(dataset.category_names), dataset.ignore_label)
    mine = dataset.images[process.rank :: process.world_size]
    for image, result in predict_images(predictor, mine, lambda record: record.image_path, lambda record: None):
        if result.semantic is None:
            raise AssertionError("the semantic task is on, so there must be a map")
        write_label_map(folder / "semantic" / f"{image.name}.png", result.semantic)
        matrix.add(dataset.labels(image, (result.height, result.width)), result.semantic)
    matrix.counts = np.sum(process.gather([matrix.counts]), axis=0)
    if not process.is_main:
        return {}
    return score_written(name, folder / "semantic", lambda: matrix.figures(dataset.category_names))


def _predictor(cfg: "CfgNode", model: nn.Module, names: Sequence[str], task: str) -> ImagePredictor:
    predictor = ImagePredictor(model, categories=names)
    if task not in predictor.model.tasks:
        raise ConfigError(
            f"MODEL.MASK_FORMER.TEST.{task.upper()}_ON: False, but a data set of DATASETS.TEST needs this task. Set it to True."
        )
    predictor.input = NetworkInput.from_config(cfg.INPUT)
    return predictor


def _predictions(
    predictor: ImagePredictor, dataset: ImageDataset | PanopticDataset, process: Process
) -> Iterator[tuple[Any, ImageResult]]:
    """This process's images of an annotation file, each with its result."""
    mine: Sequence[Any] = dataset.images[process.rank :: process.world_size]
    return predict_images(predictor, mine, dataset.image_path, lambda image: (image.height, image.width))
