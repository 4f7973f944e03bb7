"""Annotated images and their augmentation from a config; one function per kind of data set."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dense.config.architectures import class_count, class_key, needs_masks
from dense.data.datasets import resolve_federated, resolve_instances, resolve_panoptic, resolve_semantic
from dense.data.mappers.image_annotations import (
    InstanceAnnotations,
    PanopticAnnotations,
    SemanticAnnotations,
)
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

__all__ = [
    "ClassMap",
    "detection_augmentation_from_config",
    "image_augmentation_from_config",
    "instance_annotations",
    "panoptic_annotations",
    "semantic_annotations",
    "trains_on_images",
]

ClassMap = Mapping[int, int]
"""Category id → class index of another data set."""

_UNPADDED = "coco_instance_lsj_unpadded"
_JITTERED = ("coco_instance_lsj", "coco_panoptic_lsj", _UNPADDED)
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


def instance_annotations(
    cfg: "CfgNode", name: str, classes: ClassMap | None = None, federated: bool = False
) -> InstanceAnnotations:
    """Objects of a COCO instances set, or of an LVIS set.

    Args:
        cfg: the configuration.
        name: of the data set.
        federated: it is of kind ``image_federated``.
        classes: category id → class of the set that it is mapped to; ``None`` = its own.

    Raises: ConfigError naming the key; DataError naming the file.
    """
    masks = needs_masks(cfg)
    if federated:
        dataset = resolve_federated(name).read(masks).objects
    else:
        dataset = resolve_instances(name).read(require_annotations=True, masks=masks)
    known = dataset.contiguous_ids if classes is None else classes
    images = [
        image
        for image in dataset.images
        if not _filtered(cfg) or any(not item.iscrowd and item.category_id in known for item in image.objects)
    ]
    _check(cfg, name, None if classes else dataset.category_names, images)
    return InstanceAnnotations(dataset, images, classes)


def panoptic_annotations(cfg: "CfgNode", name: str) -> PanopticAnnotations:
    """Things and stuff of a COCO panoptic set; errors as ``instance_annotations``."""
    dataset = resolve_panoptic(name).read()
    images = [i for i in dataset.images if not _filtered(cfg) or any(not segment.iscrowd for segment in i.segments)]
    _check(cfg, name, dataset.category_names, images)
    return PanopticAnnotations(dataset, images)


def semantic_annotations(cfg: "CfgNode", name: str) -> SemanticAnnotations:
    """Classes of label maps; errors as ``instance_annotations``."""
    dataset = resolve_semantic(name).read()
    _check(cfg, name, dataset.category_names, dataset.images)
    return SemanticAnnotations(dataset, dataset.images)


def trains_on_images(cfg: "CfgNode") -> bool:
    """Whether the model's training samples are single images; those of all other segmenters are clips."""
    return bool(cfg.MODEL.META_ARCHITECTURE in ("ImageSegmenter", "FCNSegmenter"))


def detection_augmentation_from_config(inputs: "CfgNode") -> ClipPipeline:
    """Augmentation of a detector's images from the INPUT node: crop where CROP.ENABLED, shortest edge, flip, in this order.

    The order is Detectron2's. DATASET_MAPPER_NAME ``coco_instance_lsj`` asks for large-scale jitter as elsewhere.
    Raises: ConfigError naming the key.
    """
    if inputs.DATASET_MAPPER_NAME in _JITTERED:
        return image_augmentation_from_config(inputs)
    crop = (ClipCrop(inputs.CROP.TYPE, tuple(inputs.CROP.SIZE)),) if inputs.CROP.ENABLED else ()
    return ClipPipeline((*crop, _shortest_edge(inputs), *_flip(inputs.RANDOM_FLIP)))


def image_augmentation_from_config(inputs: "CfgNode") -> ClipPipeline:
    """Augmentation of images from the INPUT node, by DATASET_MAPPER_NAME.

    ``coco_instance_lsj``, ``coco_panoptic_lsj``: flip, then large-scale jitter of MIN_SCALE to MAX_SCALE on a square canvas of
    IMAGE_SIZE pixels; ``coco_instance_lsj_unpadded`` leaves padding to the model.
    ``mask_former_*``: shortest edge of MIN_SIZE_TRAIN, crop of CROP.SIZE where CROP.ENABLED, colour jitter
    where COLOR_AUG_SSD, flip.
    Raises: ConfigError naming the key.
    """
    flip = _flip(inputs.RANDOM_FLIP)
    if inputs.DATASET_MAPPER_NAME in _JITTERED:
        pad = inputs.DATASET_MAPPER_NAME != _UNPADDED
        return ClipPipeline((*flip, LargeScaleJitter(inputs.IMAGE_SIZE, (inputs.MIN_SCALE, inputs.MAX_SCALE), pad)))
    if inputs.DATASET_MAPPER_NAME not in _SHORTEST_EDGE:
        known = [*_JITTERED, *_SHORTEST_EDGE]
        hint = nearest(inputs.DATASET_MAPPER_NAME, known)
        raise ConfigError(
            f"INPUT.DATASET_MAPPER_NAME: unknown {inputs.DATASET_MAPPER_NAME!r}.{hint} Expected {', '.join(known)}."
        )
    parts: list[ClipAugmentation] = [_shortest_edge(inputs)]
    if inputs.CROP.ENABLED:
        parts.append(ClipCrop(inputs.CROP.TYPE, tuple(inputs.CROP.SIZE)))
    return ClipPipeline((*parts, *(_COLOUR if inputs.COLOR_AUG_SSD else ()), *flip))


def _shortest_edge(inputs: "CfgNode") -> ResizeShortestEdge:
    sizes = inputs.MIN_SIZE_TRAIN
    lengths = (sizes,) if isinstance(sizes, int) else tuple(sizes)
    return ResizeShortestEdge(lengths, inputs.MAX_SIZE_TRAIN, inputs.MIN_SIZE_TRAIN_SAMPLING)


def _flip(name: str) -> tuple[ClipAugmentation, ...]:
    if name not in _FLIPS:
        raise ConfigError(f"INPUT.RANDOM_FLIP: '{name}', expected one of {', '.join(_FLIPS)}.")
    return _FLIPS[name]


def _filtered(cfg: "CfgNode") -> bool:
    return bool(cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS)


def _check(cfg: "CfgNode", name: str, category_names: Sequence[str] | None, images: Sequence[object]) -> None:
    count = class_count(cfg)
    if category_names is not None and len(category_names) != count:
        raise ConfigError(f"{class_key(cfg)}: {count}, but data set {name!r} has {len(category_names)} categories.")
    if not images:
        raise DataError(
            f"data set {name!r}: no image left to train on (DATALOADER.FILTER_EMPTY_ANNOTATIONS leaves out those without"
            " objects). Annotate some, or choose another DATASETS.TRAIN."
        )
