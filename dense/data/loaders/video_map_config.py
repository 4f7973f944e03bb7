"""Training clips of video panoptic and video semantic sets from a config (DVIS++, data of VIPSeg and VSPW)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from dense.data.datasets.video_maps import resolve_panoptic_videos, resolve_semantic_videos, things_first
from dense.data.formats.category_table import Category
from dense.data.formats.youtube_vis import AnnotationsMissingError
from dense.data.loaders.clip_dataset import VideoTestDataset
from dense.data.mappers import (
    FrameSampler,
    PanopticVideoMaps,
    SemanticVideoMaps,
    VideoMaps,
    VideoMapTestMapper,
    VideoRegionMapper,
)
from dense.data.transforms import ClipAugmentation, ClipCrop, ClipFlip, ClipPipeline, ResizeShortestEdge
from dense.errors import ConfigError, DataError

if TYPE_CHECKING:
    from detectron2.config import CfgNode

__all__ = ["video_map_augmentation_from_config", "video_map_test_set", "video_region_mapper"]


def video_region_mapper(cfg: "CfgNode", name: str, kind: str) -> VideoRegionMapper:
    """The mapper of a training set.

    Frames are drawn as for video instances, others than the reference frame with replacement.
    Raises: ConfigError naming the key; DataError naming the file; AnnotationsMissingError (a DataError) without annotations.
    """
    maps = (_panoptic if kind == "video_panoptic" else _semantic)(cfg, name)
    inputs = cfg.INPUT
    sampler = FrameSampler(
        inputs.SAMPLING_FRAME_NUM, inputs.SAMPLING_FRAME_RANGE, reverse=inputs.REVERSE_AGU, always_replace=True
    )
    return VideoRegionMapper(maps, sampler, video_map_augmentation_from_config(inputs), bool(inputs.FORMAT == "BGR"))


def video_map_test_set(cfg: "CfgNode", name: str, kind: str) -> VideoTestDataset:
    """The whole videos of a test set, annotated or not, only resized (MIN_SIZE_TEST, MAX_SIZE_TEST).

    Raises: DataError naming the file.
    """
    maps: VideoMaps
    if kind == "video_panoptic":
        panoptic = resolve_panoptic_videos(name).read()
        maps = PanopticVideoMaps(panoptic, things_first(panoptic.categories))
    else:
        semantic = resolve_semantic_videos(name).read()
        maps = SemanticVideoMaps(semantic, things_first(semantic.categories))
    inputs = cfg.INPUT
    mapper = VideoMapTestMapper(maps, inputs.MIN_SIZE_TEST, inputs.MAX_SIZE_TEST, bool(inputs.FORMAT == "BGR"))
    return VideoTestDataset(range(len(maps)), mapper)


def video_map_augmentation_from_config(inputs: "CfgNode") -> ClipPipeline:
    """Shortest edge of MIN_SIZE_TRAIN, crop of CROP.SIZE where CROP.ENABLED, horizontal flip of half the clips.

    RANDOM_FLIP, AUGMENTATIONS and PSEUDO do not count, as in the published recipes.
    """
    sizes = inputs.MIN_SIZE_TRAIN
    lengths = (sizes,) if isinstance(sizes, int) else tuple(sizes)
    parts: list[ClipAugmentation] = [ResizeShortestEdge(lengths, inputs.MAX_SIZE_TRAIN, inputs.MIN_SIZE_TRAIN_SAMPLING)]
    if inputs.CROP.ENABLED:
        parts.append(ClipCrop(inputs.CROP.TYPE, tuple(inputs.CROP.SIZE)))
    return ClipPipeline((*parts, ClipFlip()))


def _panoptic(cfg: "CfgNode", name: str) -> VideoMaps:
    dataset = resolve_panoptic_videos(name).read(require_annotations=True)
    _check_classes(cfg, name, dataset.categories)
    videos = dataset.videos
    if cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS:
        videos = tuple(v for v in videos if any(not s.iscrowd for frame in v.frames for s in frame.segments))
    if not videos:
        raise DataError(f"{dataset.path}: no video has a segment to train on. Annotate some, or choose another DATASETS.TRAIN.")
    return PanopticVideoMaps(replace(dataset, videos=videos), things_first(dataset.categories))


def _semantic(cfg: "CfgNode", name: str) -> VideoMaps:
    dataset = resolve_semantic_videos(name).read()
    if not dataset.has_annotations:
        raise AnnotationsMissingError(f"{dataset.path}: its videos have no label maps, expected some to train on.")
    _check_classes(cfg, name, dataset.categories)
    return SemanticVideoMaps(dataset, things_first(dataset.categories))


def _check_classes(cfg: "CfgNode", name: str, categories: Sequence[Category]) -> None:
    count = cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
    if len(categories) != count:
        raise ConfigError(f"MODEL.SEM_SEG_HEAD.NUM_CLASSES: {count}, but data set {name!r} has {len(categories)} categories.")
