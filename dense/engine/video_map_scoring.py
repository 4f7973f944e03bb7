"""Score a model on videos whose every pixel is labelled: write the benchmark's submission, then VPQ and STQ, or mIoU and VC."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from dense.data.datasets.video_maps import in_class_order, resolve_panoptic_videos, resolve_semantic_videos
from dense.data.formats.category_table import Category
from dense.data.formats.label_videos import write_label_frame
from dense.data.formats.video_panoptic import VideoPanopticWriter, read_video_panoptic_truth, write_video_panoptic
from dense.data.formats.vipseg import PanopticVideo, PanopticVideoDataset
from dense.data.formats.vspw import SemanticVideo
from dense.data.formats.youtube_vis import AnnotationsMissingError
from dense.engine.launch import Process
from dense.engine.result_files import ResultFolder, score_shared
from dense.errors import ConfigError, DataError
from dense.evaluation.video_panoptic import count_video_panoptic
from dense.evaluation.video_semantic import VideoSemanticCounter, count_video_semantic
from dense.inference.dataset_runs import predict_videos, read_frames
from dense.inference.network_input import NetworkInput
from dense.inference.video_predictor import VideoPredictor
from dense.modeling.video_evidence import VideoTask

if TYPE_CHECKING:
    from detectron2.config import CfgNode

__all__ = ["score_video_panoptic", "score_video_semantic"]


def score_video_panoptic(cfg: "CfgNode", model: nn.Module, name: str, folder: Path, process: Process) -> dict[str, Any]:
    """Writes ``pred.json`` and ``pan_pred/<video>/<frame>.png``; VPQ over windows of 1, 2, 4 and 6 frames, STQ.

    No figures where the annotations are not public. See ``dense.engine.scoring.evaluate_model``.
    """
    source = resolve_panoptic_videos(name)
    dataset = source.read()
    classes = in_class_order(dataset.categories)
    predictor, results = _predictor(cfg, model, name, classes, "vps"), ResultFolder.started(folder, process)
    writer = VideoPanopticWriter(results.unfinished, [category.id for category in classes])
    mine = dataset.videos[process.rank :: process.world_size]
    for video, result in predict_videos(predictor, mine, partial(_panoptic_frames, dataset)):
        segments = {segment.id: classes[segment.label].id for segment in result.segments}
        for frame, ids in zip(video.frames, _maps(result.panoptic), strict=True):
            writer.add_frame(video.id, frame.file_name, ids, segments)
    written = {entry["video_id"]: entry for entry in process.gather(writer.entries)}
    if process.is_main:
        write_video_panoptic(results.unfinished / "pred.json", [written[video.id] for video in dataset.videos])
    results.finish(["pan_pred", "pred.json"])
    path = folder / "pred.json"
    names = [video.id for video in mine]
    return score_shared(
        name,
        path,
        process,
        lambda: count_video_panoptic(
            read_video_panoptic_truth(source.json_path), dataset.png_root, path, folder / "pan_pred", names
        ),
    )


def score_video_semantic(cfg: "CfgNode", model: nn.Module, name: str, folder: Path, process: Process) -> dict[str, Any]:
    """Writes ``semantic/<video>/<frame>.png`` (category ids from 0, as VSPW's server takes them); mean IoU, VC8, VC16.

    No figures where the annotations are not public. See ``dense.engine.scoring.evaluate_model``.
    """
    source = resolve_semantic_videos(name)
    dataset = source.read()
    classes = in_class_order(dataset.categories)
    predictor, results = _predictor(cfg, model, name, classes, "vss"), ResultFolder.started(folder, process)
    table = np.array([category.id for category in classes], np.int32)
    mine = dataset.videos[process.rank :: process.world_size]
    for video, result in predict_videos(predictor, mine, _semantic_frames):
        for frame, labels in zip(video.frames, _maps(result.semantic), strict=True):
            write_label_frame(results.unfinished / "semantic", video.id, frame.name, table[labels], len(classes))
    results.finish(["semantic"])
    path = folder / "semantic"

    def count() -> VideoSemanticCounter:
        if not dataset.has_annotations:
            raise AnnotationsMissingError(f"{dataset.path}: its videos have no label maps.")
        names = [video.id for video in mine]
        return count_video_semantic(
            source.root / "data", path, dataset.category_names, split_file=source.split_file, videos=names
        )

    return score_shared(name, path, process, count)


def _predictor(cfg: "CfgNode", model: nn.Module, name: str, classes: Sequence[Category], task: VideoTask) -> VideoPredictor:
    predictor = VideoPredictor(model, categories=[category.name for category in classes])
    if predictor.task != task:
        raise ConfigError(f"MODEL.MASK_FORMER.TEST.TASK: {predictor.task!r}, but test set {name!r} needs {task!r}. Set it so.")
    known = cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
    if known > len(classes):
        raise DataError(f"data set {name!r}: has {len(classes)} categories, but the model has {known} classes.")
    predictor.input = NetworkInput.from_config(cfg.INPUT)
    return predictor


def _panoptic_frames(dataset: PanopticVideoDataset, video: PanopticVideo) -> Iterator[NDArray[np.uint8]]:
    first = video.frames[0]
    return read_frames((dataset.frame_path(video, t) for t in range(video.length)), (first.height, first.width))


def _semantic_frames(video: SemanticVideo) -> Iterator[NDArray[np.uint8]]:
    return read_frames(frame.image_path for frame in video.frames)


def _maps(maps: NDArray[Any] | None) -> NDArray[Any]:
    if maps is None:
        raise AssertionError("the task was checked, so there must be maps")
    return maps
