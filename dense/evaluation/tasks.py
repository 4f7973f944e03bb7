"""The tasks of ``tools/evaluate.py``: each reads its files, scores them, and says how its figures are laid out."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dense.errors import ConfigError

__all__ = ["TASKS", "Scores", "Task"]


@dataclass(frozen=True)
class Scores:
    """``figures`` by name, with ``per_category`` and for some tasks ``per_video``; ``title`` says what was counted."""

    figures: dict[str, Any]
    title: str
    tables: tuple[tuple[str, list[str], list[list[str]]], ...] = ()  # more of them: title, column names, rows


@dataclass(frozen=True)
class Task:
    """One kind of ground truth and results: ``score`` takes the parsed arguments; ``columns`` figures stand in a row."""

    score: Callable[[argparse.Namespace], Scores]
    columns: int


def _video_instances(arguments: argparse.Namespace) -> Scores:
    from dense.evaluation.error_command import with_errors
    from dense.evaluation.video_instances import load_video_inputs, precision_tables, summarise

    dataset, records = load_video_inputs(arguments.gt, arguments.predictions)
    figures = summarise(precision_tables(dataset, records), dataset)
    objects = sum(len(video.tracks) for video in dataset.videos)
    scores = Scores(figures, f"{len(dataset.videos)} videos, {objects} objects, {len(records)} predictions")
    return with_errors(scores, dataset, records, arguments)


def _instances(arguments: argparse.Namespace) -> Scores:
    from dense.evaluation.instances import evaluate_instances, load_instance_inputs

    dataset, detections = load_instance_inputs(arguments.gt, arguments.predictions, arguments.overlap)
    objects = sum(len(image.objects) for image in dataset.images)
    title = f"{len(dataset.images)} images, {objects} objects, {len(detections)} predictions ({arguments.overlap})"
    return Scores(evaluate_instances(dataset, detections, arguments.overlap), title)


def _lvis(arguments: argparse.Namespace) -> Scores:
    from dense.data.formats.lvis import read_lvis
    from dense.evaluation.lvis import evaluate_lvis, evaluate_lvis_fixed

    fixed = arguments.task == "lvis-fixed"
    truth = read_lvis(arguments.gt, masks=arguments.overlap == "segm")
    objects = sum(len(image.objects) for image in truth.objects.images)
    title = f"{len(truth.objects.images)} images, {objects} objects ({arguments.overlap}, LVIS{', fixed AP' if fixed else ''})"
    evaluate = evaluate_lvis_fixed if fixed else evaluate_lvis
    return Scores(evaluate(truth, arguments.predictions, arguments.overlap), title)


def _open_vocabulary(arguments: argparse.Namespace) -> Scores:
    from dense.data.categories import word_split
    from dense.data.formats.coco import read_coco
    from dense.evaluation.open_vocabulary import evaluate_open_vocabulary

    if arguments.novel is None:
        raise ConfigError("--task open-vocabulary needs --novel NAMES (coco_48_17, world_words, or a file of novel names).")
    dataset = read_coco(arguments.gt, masks=arguments.overlap == "segm")
    split = word_split(arguments.novel, dataset.category_names)
    title = f"{len(split.base)} base and {len(split.novel)} novel categories ({arguments.overlap})"
    return Scores(evaluate_open_vocabulary(dataset, arguments.predictions, split, arguments.overlap), title)


def _panoptic(arguments: argparse.Namespace) -> Scores:
    from dense.data.formats.coco_panoptic import read_panoptic
    from dense.evaluation.panoptic import evaluate_panoptic

    dataset = read_panoptic(arguments.gt, arguments.gt_dir)
    figures = evaluate_panoptic(dataset, None, arguments.predictions, arguments.predictions_dir)
    segments = sum(len(image.segments) for image in dataset.images)
    return Scores(figures, f"{len(dataset.images)} images, {segments} segments")


def _semantic(arguments: argparse.Namespace) -> Scores:
    from dense.evaluation.semantic import evaluate_semantic

    classes = _num_classes(arguments)
    figures = evaluate_semantic(arguments.gt, arguments.predictions, classes, ignore_label=arguments.ignore_label)
    return Scores(figures, f"{classes} classes")


def _video_panoptic(arguments: argparse.Namespace) -> Scores:
    from dense.data.formats.video_panoptic import read_video_panoptic_truth
    from dense.evaluation.video_panoptic import evaluate_video_panoptic

    truth = read_video_panoptic_truth(arguments.gt)
    truth_dir = arguments.gt_dir or Path(arguments.gt).parent / "panomasksRGB"
    results_dir = arguments.predictions_dir or Path(arguments.predictions).parent / "pan_pred"
    windows = tuple(arguments.windows)
    figures = evaluate_video_panoptic(truth, truth_dir, arguments.predictions, results_dir, windows=windows)
    frames = sum(len(video.frames) for video in truth.videos)
    return Scores(figures, f"{len(truth.videos)} videos, {frames} frames, windows {', '.join(map(str, windows))}")


def _video_semantic(arguments: argparse.Namespace) -> Scores:
    from dense.evaluation.video_semantic import evaluate_video_semantic

    classes = _num_classes(arguments)
    figures = evaluate_video_semantic(arguments.gt, arguments.predictions, classes, split_file=arguments.split)
    frames = sum(video["frames"] for video in figures["per_video"].values())
    return Scores(figures, f"{len(figures['per_video'])} videos, {frames} frames, {classes} classes")


def _num_classes(arguments: argparse.Namespace) -> int:
    if arguments.num_classes is None:
        raise ConfigError(f"--task {arguments.task} needs --num-classes K (labels are 0 to K-1).")
    return int(arguments.num_classes)


TASKS = {
    "video-instances": Task(_video_instances, 6),
    "instances": Task(_instances, 6),
    "lvis": Task(_lvis, 7),
    "lvis-fixed": Task(_lvis, 7),
    "open-vocabulary": Task(_open_vocabulary, 6),
    "panoptic": Task(_panoptic, 3),
    "semantic": Task(_semantic, 4),
    "video-panoptic": Task(_video_panoptic, 3),
    "video-semantic": Task(_video_semantic, 3),
}
