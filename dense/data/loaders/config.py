"""Loaders from a config: reads DATASETS, DATALOADER and SEED, and INPUT for videos (for images see ``image_config``)."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader

from dense.config.architectures import is_detector
from dense.config.checks import check_choice
from dense.data.clip_cache import CachedClips, ClipCache, config_values, data_digest
from dense.data.datasets import check_kind, class_map, find_dataset, resolve_dataset, with_kinds
from dense.data.formats.youtube_vis import VideoDataset
from dense.data.loaders.build import TrainLoader, build_combined_train_loader, build_test_loader
from dense.data.loaders.clip_dataset import SizedDataset, VideoClipDataset, VideoTestDataset, drop_unannotated
from dense.data.loaders.image_config import (
    ClassMap,
    detection_augmentation_from_config,
    image_augmentation_from_config,
    instance_annotations,
    panoptic_annotations,
    semantic_annotations,
    trains_on_images,
)
from dense.data.loaders.indexed_dataset import IndexedTrainDataset
from dense.data.loaders.repeats_config import repeats_from_config
from dense.data.loaders.video_map_config import video_map_test_set, video_region_mapper
from dense.data.mappers import (
    DetectionMapper,
    FrameSampler,
    ImageAnnotations,
    ImageClipMapper,
    ImageSegmentationMapper,
    InstanceAnnotations,
    VideoInstanceMapper,
    VideoTestMapper,
)
from dense.data.transforms import (
    ClipAugmentation,
    ClipChance,
    ClipColour,
    ClipCrop,
    ClipFlip,
    ClipPipeline,
    ClipRotation,
    LargeScaleJitter,
    PseudoRotation,
    ResizeShortestEdge,
)
from dense.errors import ConfigError, DataError

if TYPE_CHECKING:
    from detectron2.config import CfgNode

__all__ = [
    "cache_keys",
    "pseudo_augmentation_from_config",
    "test_loader_from_config",
    "train_loader_from_config",
    "training_set_length",
    "training_sets_from_config",
    "video_augmentation_from_config",
]

_CROP_RESIZE = ResizeShortestEdge((400, 500, 600), 1333, "choice_by_clip")  # before cropping (DETR's recipe)
_FLIPS: dict[str, tuple[ClipAugmentation, ...]] = {
    "none": (),
    "horizontal": (ClipFlip(by_clip=False),),
    "vertical": (ClipFlip(by_clip=False, direction="vertical"),),
    "flip": (ClipFlip(),),
    "flip_by_clip": (ClipFlip(),),
}
_EXTRAS: dict[str, ClipAugmentation] = {
    "brightness": ClipColour("brightness"),
    "contrast": ClipColour("contrast"),
    "saturation": ClipColour("saturation"),
    "rotation": ClipRotation(),
}


def train_loader_from_config(cfg: "CfgNode", start_step: int = 0, rank: int = 0, world_size: int = 1) -> TrainLoader:
    """Training loader of DATASETS.TRAIN; batches hold SOLVER.IMS_PER_BATCH videos or images over all ranks.

    ``start_step`` counts batches of the loader: with gradient accumulation micro-batches, not steps of the optimiser.
    A negative SEED ("any seed") means 0: with a drawn one, ranks would disagree and a resumed run would differ.
    Raises: ConfigError naming the key; DataError naming the file.
    """
    seed = max(int(cfg.SEED), 0)
    pretraining = _trains_without_annotations(cfg)
    datasets = _cached_sets(cfg) if cfg.DATASETS.CACHE else list(training_sets_from_config(cfg).values())
    if pretraining:
        from dense.data.loaders.pretraining import pretraining_loader

        return pretraining_loader(cfg, datasets, seed, start_step, rank, world_size)
    return build_combined_train_loader(
        datasets,
        [float(ratio) for ratio in cfg.DATASETS.DATASET_RATIO],
        cfg.SOLVER.IMS_PER_BATCH,
        seed=seed,
        start_step=start_step,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        rank=rank,
        world_size=world_size,
        factors=repeats_from_config(cfg, datasets),
    )


def training_sets_from_config(cfg: "CfgNode", seed: int | None = None) -> dict[str, SizedDataset]:
    """The sets of DATASETS.TRAIN by number and name; ``seed`` of their samples, ``None`` = SEED.

    Raises: ConfigError naming the key; DataError naming the file.
    """
    seed = max(int(cfg.SEED), 0) if seed is None else seed
    return {
        f"{i}: {name}": _train_set(cfg, name, kind, classes, seed)
        for i, (name, kind, classes) in enumerate(_training_sets(cfg))
    }


def training_set_length(cfg: "CfgNode") -> int:
    """Images or videos of DATASETS.TRAIN, all sets together: what one epoch means where a length is given in epochs.

    Raises: as ``training_sets_from_config``.
    """
    return sum(len(dataset) for dataset in training_sets_from_config(cfg).values())


def cache_keys(cfg: "CfgNode", datasets: Mapping[str, SizedDataset]) -> tuple[dict[str, str], dict[str, str]]:
    """What a cache of these sets depends on, but for weights: configuration values by key, digests by data set."""
    files = (getattr(find_dataset(name, kind), "json_path", None) for name, kind, _ in _training_sets(cfg))
    digests = {name: data_digest(dataset, file) for (name, dataset), file in zip(datasets.items(), files, strict=True)}
    return config_values(cfg), digests


def test_loader_from_config(
    cfg: "CfgNode",
    dataset_name: str,
    rank: int = 0,  # noqa: PT028 (a loader for testing, not a test)
    world_size: int = 1,  # noqa: PT028
) -> DataLoader[dict[str, Any]]:
    """Loader of one test set: every video of this rank's part once, frames read lazily, only resized.

    Raises: ConfigError naming the key; DataError naming the file.
    """
    for name, kind in with_kinds(cfg.DATASETS.TEST, cfg.DATASETS.DATASET_TYPE_TEST):
        if name == dataset_name and kind in ("video_panoptic", "video_semantic"):
            return build_test_loader(video_map_test_set(cfg, name, kind), rank, world_size)
        if name == dataset_name and kind != "video_instance":
            check_kind(kind, "DATASETS.DATASET_TYPE_TEST")
            raise ConfigError(f"DATASETS.DATASET_TYPE_TEST: '{kind}' has no test loader; its images go through ImagePredictor.")
    videos = _read(dataset_name, training=False)
    mapper = VideoTestMapper(_root(videos), cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST, _bgr(cfg.INPUT))
    return build_test_loader(VideoTestDataset(videos.videos, mapper), rank, world_size)


def video_augmentation_from_config(inputs: "CfgNode") -> ClipPipeline:
    """Augmentation of real videos from the INPUT node: crop by chance, resize, flip, colour and rotation.

    Crop type and size are read from INPUT.PSEUDO.CROP, not from INPUT.CROP, as the reference does.
    """
    return ClipPipeline((*_scaling(inputs, inputs), *_flip(inputs), *(_extra(name) for name in inputs.AUGMENTATIONS)))


def pseudo_augmentation_from_config(inputs: "CfgNode") -> ClipPipeline:
    """Augmentation of clips made from one image: as for videos with INPUT.PSEUDO's values, "rotation" being a motion."""
    extras = (PseudoRotation() if name == "rotation" else _extra(name) for name in inputs.PSEUDO.AUGMENTATIONS)
    flip = () if inputs.RANDOM_FLIP == "none" else (ClipFlip(),)
    return ClipPipeline((*_scaling(inputs, inputs.PSEUDO), *flip, *extras))


def _scaling(inputs: "CfgNode", node: "CfgNode") -> list[ClipAugmentation]:
    """Crop and resize with the sizes of ``node`` (INPUT or INPUT.PSEUDO), or the jitter that replaces both."""
    jitter = inputs.LSJ_AUG
    if jitter.ENABLED:
        return [LargeScaleJitter(jitter.IMAGE_SIZE, (jitter.MIN_SCALE, jitter.MAX_SCALE))]
    resize = ResizeShortestEdge(_lengths(node.MIN_SIZE_TRAIN), node.MAX_SIZE_TRAIN, node.MIN_SIZE_TRAIN_SAMPLING)
    if not node.CROP.ENABLED:
        return [resize]
    crop = ClipCrop(inputs.PSEUDO.CROP.TYPE, tuple(inputs.PSEUDO.CROP.SIZE))
    return [ClipChance((_CROP_RESIZE, crop)), resize]


def _flip(inputs: "CfgNode") -> tuple[ClipAugmentation, ...]:
    if inputs.RANDOM_FLIP not in _FLIPS:
        raise ConfigError(f"INPUT.RANDOM_FLIP: '{inputs.RANDOM_FLIP}', expected one of {', '.join(_FLIPS)}.")
    return _FLIPS[inputs.RANDOM_FLIP]


def _extra(name: str) -> ClipAugmentation:
    if name not in _EXTRAS:
        raise ConfigError(f"INPUT.AUGMENTATIONS: '{name}' is unknown{_nearest(name, _EXTRAS)}. Expected {', '.join(_EXTRAS)}.")
    return _EXTRAS[name]


def _train_set(cfg: "CfgNode", name: str, kind: str, classes: ClassMap | None, seed: int) -> SizedDataset:
    if kind == "video_instance":
        return _video_clips(cfg, name, classes, seed)
    if kind in ("video_panoptic", "video_semantic"):
        clips = video_region_mapper(cfg, name, kind)
        return IndexedTrainDataset(clips, len(clips.maps), seed)
    if kind == "image_views":
        from dense.data.loaders.views_config import view_set  # needs OpenCV

        return view_set(cfg, name, seed)
    if kind == "image_captions":
        from dense.data.loaders.captions_config import caption_set

        return caption_set(cfg, name, seed)
    if kind in ("image_instance", "image_federated"):
        annotations = instance_annotations(cfg, name, classes, kind == "image_federated")
        return _detections(cfg, annotations, seed) if is_detector(cfg) else _images(cfg, annotations, seed)
    return _images(cfg, _IMAGES[kind](cfg, name), seed)


def _images(cfg: "CfgNode", annotations: ImageAnnotations, seed: int) -> IndexedTrainDataset:
    """Single images for an image model; for a video model clips made of them."""
    if trains_on_images(cfg):
        mapper = ImageSegmentationMapper(annotations, image_augmentation_from_config(cfg.INPUT), _bgr(cfg.INPUT))
        return IndexedTrainDataset(mapper, len(annotations), seed)
    clips = ImageClipMapper(annotations, _sampler(cfg.INPUT), pseudo_augmentation_from_config(cfg.INPUT), _bgr(cfg.INPUT))
    return IndexedTrainDataset(clips, len(annotations), seed)


def _detections(cfg: "CfgNode", annotations: InstanceAnnotations, seed: int) -> IndexedTrainDataset:
    augmentation = detection_augmentation_from_config(cfg.INPUT)
    mapper = DetectionMapper(annotations, augmentation, bool(cfg.MODEL.MASK_ON), _bgr(cfg.INPUT))
    return IndexedTrainDataset(mapper, len(annotations), seed)


def _video_clips(cfg: "CfgNode", name: str, classes: ClassMap | None, seed: int) -> VideoClipDataset:
    inputs = cfg.INPUT
    dataset = _read(name, training=True)
    videos = list(dataset.videos)
    if cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS:
        videos = drop_unannotated(videos, classes)
        if not videos:
            raise DataError(
                f"{dataset.path}: no video has an object to train on. Annotate some, or choose another DATASETS.TRAIN."
            )
    mapper = VideoInstanceMapper(
        image_root=_root(dataset),
        category_index=dataset.contiguous_ids if classes is None else classes,
        sampler=_sampler(inputs),
        augmentation=video_augmentation_from_config(inputs),
        bgr=_bgr(inputs),
        mapped=classes is not None,
    )
    return VideoClipDataset(videos, mapper, seed)


def _sampler(inputs: "CfgNode") -> FrameSampler:
    return FrameSampler(
        inputs.SAMPLING_FRAME_NUM,
        inputs.SAMPLING_FRAME_RANGE,
        reverse=inputs.REVERSE_AGU,
        shuffle=inputs.SAMPLING_FRAME_SHUFFLE,
    )


def _cached_sets(cfg: "CfgNode") -> list[SizedDataset]:
    """The clips of DATASETS.CACHE. Raises: ConfigError if they are stale, DataError if they cannot be read."""
    cache = ClipCache(Path(cfg.DATASETS.CACHE))
    datasets = training_sets_from_config(cfg, cache.keys.seed)
    cache.keys.check(*cache_keys(cfg, datasets), cache.folder)
    return [CachedClips(cache, source) for source in range(len(datasets))]


def _training_sets(cfg: "CfgNode") -> list[tuple[str, str, ClassMap | None]]:
    """Name, kind and, where it is mapped to those of the last set, classes of each training set."""
    node = cfg.DATASETS
    if not node.TRAIN:
        raise ConfigError("DATASETS.TRAIN: empty, expected the name of at least one training set.")
    for key in ("DATASET_RATIO", "DATASET_TYPE", "DATASET_NEED_MAP"):
        if len(getattr(node, key)) != len(node.TRAIN):
            raise ConfigError(
                f"DATASETS.{key}: {len(getattr(node, key))} entries, expected {len(node.TRAIN)} as in DATASETS.TRAIN."
            )
    sets = with_kinds(node.TRAIN, node.DATASET_TYPE)
    for _, kind in sets:
        check_kind(kind, "DATASETS.DATASET_TYPE")
    last = sets[-1]
    for (name, kind), mapped in zip(sets[:-1], node.DATASET_NEED_MAP, strict=False):
        if mapped and kind not in ("video_instance", "image_instance"):
            raise ConfigError(
                f"DATASETS.DATASET_NEED_MAP: True for {name!r}, but only instance sets can be mapped. Set it to False."
            )
    return [
        (name, kind, _map_to(last, name, kind) if mapped and (name, kind) != last else None)
        for (name, kind), mapped in zip(sets, node.DATASET_NEED_MAP, strict=True)
    ]


def _trains_without_annotations(cfg: "CfgNode") -> bool:
    """Whether the training sets are pictures for pretraining. Raises: ConfigError if only some are, or of two kinds."""
    kinds = {kind for _, kind in with_kinds(cfg.DATASETS.TRAIN, cfg.DATASETS.DATASET_TYPE)}
    alone = sorted(kinds & {"image_views", "image_captions"})
    if alone and len(kinds) > 1:
        raise ConfigError(f"DATASETS.DATASET_TYPE: {sorted(kinds)}, but '{alone[0]}' cannot be mixed with other kinds.")
    return bool(alone)


def _map_to(last: tuple[str, str], name: str, kind: str) -> ClassMap:
    target = find_dataset(*last)
    names = target.category_names
    source = find_dataset(name, kind)
    categories = getattr(source, "categories", None)  # the published table; else the file must say
    return class_map(
        source.read().categories if categories is None else categories,
        target.read().category_names if names is None else names,
        name,
    )


def _read(name: str, training: bool) -> VideoDataset:
    return resolve_dataset(name).read(require_annotations=training)


def _root(dataset: VideoDataset) -> Path:
    return dataset.image_root if dataset.image_root is not None else Path(dataset.path).parent


def _lengths(value: int | Sequence[int]) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else tuple(value)


def _bgr(inputs: "CfgNode") -> bool:
    return check_choice("INPUT.FORMAT", inputs.FORMAT, ("RGB", "BGR")) == "BGR"


def _nearest(name: str, known: Sequence[str] | dict[str, Any]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


_IMAGES: dict[str, Callable[["CfgNode", str], ImageAnnotations]] = {
    "image_panoptic": panoptic_annotations,
    "image_semantic": semantic_annotations,
}
