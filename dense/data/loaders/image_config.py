"""Training sets and augmentation of images from a config; one function per kind of data set."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dense.data.datasets import resolve_instances, resolve_panoptic, resolve_semantic
from dense.data.loaders.image_dataset import ImageTrainDataset
from dense.data.mappers.image_annotations import (
    ImageAnnotations,
    InstanceAnnotations,
    PanopticAnnotations,
    SemanticAnnotations,
)
from dense.data.mappers.image_segmentation import ImageSegmentationMapper
from dense.data.transforms import (
    ClipAugmentation,
    ClipChance,
    ClipColour,
    ClipCrop,
    ClipFlip,
    ClipPipeline,
    LargeScaleJitter,
    ResizeShortestEdge,
)
from dense.errors import ConfigError, DataError
from dense.registry import nearest

if TYPE_CHECKING:
    from detectron2.config import CfgNode

__all__ = ["image_augmentation_from_config", "instance_train_set", "panoptic_train_set", "semantic_train_set"]

_JITTERED = ("coco_instance_lsj", "coco_panoptic_lsj")
_SHORTEST_EDGE = ("mask_former_semantic", "mask_former_instance", "mask_former_panoptic")
_FLIPS: dict[str, tuple[ClipAugmentation, ...]] = {
    "none": (),
    "horizontal": (ClipFlip(),),
    "vertical": (ClipFlip(direction="vertical"),),
    "flip_by_clip": (ClipFlip(),),  # a video configuration's word
}
# The jitter of SSD without its hue step; brightness is scaled, not shifted.
_COLOUR: tuple[ClipAugmentation, ...] = (
    ClipChance((ClipColour("brightness", (0.875, 1.125)),)),
    ClipChance((ClipColour("contrast", (0.5, 1.5)),)),
    ClipChance((ClipColour("saturation", (0.5, 1.5)),)),
)


def instance_train_set(cfg: "CfgNode", name: str, seed: int) -> ImageTrainDataset:
    """Objects of a COCO instances set. Raises: ConfigError naming the key; DataError naming the file."""
    dataset = resolve_instances(name).read(require_annotations=True)
    images = [i for i in dataset.images if not _filtered(cfg) or any(not item.iscrowd for item in i.objects)]
    _check(cfg, name, dataset.category_names, images)
    return _train_set(cfg, InstanceAnnotations(dataset, images), seed)


def panoptic_train_set(cfg: "CfgNode", name: str, seed: int) -> ImageTrainDataset:
    """Things and stuff of a COCO panoptic set. Raises: as ``instance_train_set``."""
    dataset = resolve_panoptic(name).read()
    images = [i for i in dataset.images if not _filtered(cfg) or any(not segment.iscrowd for segment in i.segments)]
    _check(cfg, name, dataset.category_names, images)
    return _train_set(cfg, PanopticAnnotations(dataset, images), seed)


def semantic_train_set(cfg: "CfgNode", name: str, seed: int) -> ImageTrainDataset:
    """Classes of label maps. Raises: as ``instance_train_set``."""
    dataset = resolve_semantic(name).read()
    _check(cfg, name, dataset.category_names, dataset.images)
    return _train_set(cfg, SemanticAnnotations(dataset, dataset.images), seed)


def image_augmentation_from_config(inputs: "CfgNode") -> ClipPipeline:
    """Augmentation of images from the INPUT node, by DATASET_MAPPER_NAME.

    ``coco_instance_lsj``, ``coco_panoptic_lsj``: flip, then large-scale jitter of MIN_SCALE to MAX_SCALE on a square canvas of
    IMAGE_SIZE pixels. ``mask_former_*``: shortest edge of MIN_SIZE_TRAIN, crop of CROP.SIZE where CROP.ENABLED, colour jitter
    where COLOR_AUG_SSD, flip.
    Raises: ConfigError naming the key.
    """
    flip = _flip(inputs.RANDOM_FLIP)
    if inputs.DATASET_MAPPER_NAME in _JITTERED:
        return ClipPipeline((*flip, LargeScaleJitter(inputs.IMAGE_SIZE, (inputs.MIN_SCALE, inputs.MAX_SCALE))))
    if inputs.DATASET_MAPPER_NAME not in _SHORTEST_EDGE:
        known = [*_JITTERED, *_SHORTEST_EDGE]
        hint = nearest(inputs.DATASET_MAPPER_NAME, known)
        raise ConfigError(
            f"INPUT.DATASET_MAPPER_NAME: unknown {inputs.DATASET_MAPPER_NAME!r}.{hint} Expected {', '.join(known)}."
        )
    sizes = inputs.MIN_SIZE_TRAIN
    lengths = (sizes,) if isinstance(sizes, int) else tuple(sizes)
    parts: list[ClipAugmentation] = [ResizeShortestEdge(lengths, inputs.MAX_SIZE_TRAIN, inputs.MIN_SIZE_TRAIN_SAMPLING)]
    if inputs.CROP.ENABLED:
        parts.append(ClipCrop(inputs.CROP.TYPE, tuple(inputs.CROP.SIZE)))
    return ClipPipeline((*parts, *(_COLOUR if inputs.COLOR_AUG_SSD else ()), *flip))


def _flip(name: str) -> tuple[ClipAugmentation, ...]:
    if name not in _FLIPS:
        raise ConfigError(f"INPUT.RANDOM_FLIP: '{name}', expected one of {', '.join(_FLIPS)}.")
    return _FLIPS[name]


def _train_set(cfg: "CfgNode", annotations: ImageAnnotations, seed: int) -> ImageTrainDataset:
    bgr = bool(cfg.INPUT.FORMAT == "BGR")
    return ImageTrainDataset(ImageSegmentationMapper(annotations, image_augmentation_from_config(cfg.INPUT), bgr), seed)


def _filtered(cfg: "CfgNode") -> bool:
    return bool(cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS)


def _check(cfg: "CfgNode", name: str, category_names: Sequence[str], images: Sequence[object]) -> None:
    count = cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
    if len(category_names) != count:
        raise ConfigError(
            f"MODEL.SEM_SEG_HEAD.NUM_CLASSES: {count}, but data set {name!r} has {len(category_names)} categories."
        )
    if not images:
        raise DataError(
            f"data set {name!r}: no image left to train on (DATALOADER.FILTER_EMPTY_ANNOTATIONS leaves out those without"
            " objects). Annotate some, or choose another DATASETS.TRAIN."
        )
