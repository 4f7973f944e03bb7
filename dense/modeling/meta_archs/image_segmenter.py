"""Image segmenter: backbone, pixel decoder, mask decoder; semantic, instance and panoptic results (Mask2Former)."""

from functools import partial
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import MetadataCatalog
from detectron2.modeling import (
    BACKBONE_REGISTRY,
    META_ARCH_REGISTRY,
    SEM_SEG_HEADS_REGISTRY,
    build_backbone,
    build_sem_seg_head,
)
from fvcore.common.registry import Registry
from torch import Tensor, nn

from dense.data.datasets import thing_classes, with_kinds
from dense.errors import ConfigError, DenseError
from dense.modeling.config_check import check_features, check_segmenter
from dense.modeling.losses import SetCriterion
from dense.modeling.postprocess import instance_result, panoptic_result, resize_masks, semantic_result
from dense.modeling.predictions import MaskTargets
from dense.modeling.preprocess import ImageStack, Preprocessor
from dense.modeling.registries import CRITERIA
from dense.registry import nearest

__all__ = ["ImageSegmenter", "segmenter_parts", "things_from_config"]


def segmenter_parts(cfg: CfgNode) -> dict[str, Any]:
    """The parts every segmenter has: backbone, head, criterion, preprocessor.

    Raises: ConfigError for an unknown part, with the nearest known name, and for numbers that fit no segmenter.
    """
    check_segmenter(cfg)
    _check_name("MODEL.BACKBONE.NAME", cfg.MODEL.BACKBONE.NAME, BACKBONE_REGISTRY)
    _check_name("MODEL.SEM_SEG_HEAD.NAME", cfg.MODEL.SEM_SEG_HEAD.NAME, SEM_SEG_HEADS_REGISTRY)
    backbone = build_backbone(cfg)
    check_features(cfg.MODEL.SEM_SEG_HEAD, backbone.output_shape())
    divisibility = cfg.MODEL.MASK_FORMER.SIZE_DIVISIBILITY
    return {
        "backbone": backbone,
        "sem_seg_head": build_sem_seg_head(cfg, backbone.output_shape()),
        "criterion": CRITERIA.get(cfg.MODEL.MASK_FORMER.CRITERION_NAME)(cfg),
        "preprocessor": Preprocessor(
            cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD, backbone.size_divisibility if divisibility < 0 else divisibility
        ),
    }


def things_from_config(cfg: CfgNode, reason: str) -> frozenset[int]:
    """Class indices of the things: TEST.THING_CLASSES, else those of DATASETS.TRAIN[0] as Detectron2's catalog or our own says.

    Args:
        cfg: configuration.
        reason: the key and value that make the things necessary, for the error.

    Raises: ConfigError if nobody knows the things.
    """
    test, names = cfg.MODEL.MASK_FORMER.TEST, cfg.DATASETS.TRAIN
    if test.THING_CLASSES:
        return frozenset(test.THING_CLASSES)
    mapping = getattr(MetadataCatalog.get(names[0]), "thing_dataset_id_to_contiguous_id", None) if names else None
    if mapping is not None:
        return frozenset(mapping.values())
    try:
        things = thing_classes(*with_kinds(names[:1], cfg.DATASETS.DATASET_TYPE)[0]) if names else frozenset()
    except DenseError as error:
        raise ConfigError(
            f"{reason}, but which classes are things is not known ({error})"
            " List their indices in MODEL.MASK_FORMER.TEST.THING_CLASSES."
        ) from error
    return frozenset(range(cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES)) if things is None else things


def _check_name(key: str, name: str, registry: Registry) -> None:
    if name not in registry:
        raise ConfigError(f"{key}: unknown {name!r}.{nearest(name, [known for known, _ in registry])}")


@META_ARCH_REGISTRY.register()
class ImageSegmenter(nn.Module):
    """Mask2Former on images."""

    @configurable
    def __init__(
        self,
        *,
        backbone: nn.Module,
        sem_seg_head: nn.Module,
        criterion: SetCriterion,
        preprocessor: Preprocessor,
        tasks: frozenset[str],
        things: frozenset[int] | None,
        max_instances: int,
        object_threshold: float,
        overlap_threshold: float,
        resize_class_scores: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.sem_seg_head = sem_seg_head
        self.criterion = criterion
        self.preprocessor = preprocessor
        self.tasks, self.things, self.max_instances = tasks, things, max_instances
        self.object_threshold, self.overlap_threshold = object_threshold, overlap_threshold
        self.resize_class_scores = resize_class_scores

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Read MODEL.MASK_FORMER.TEST.*, TEST.DETECTIONS_PER_IMAGE and the thing categories of DATASETS.TRAIN[0].

        Raises: ConfigError for an unknown part, or if panoptic results are on and the things are not known.
        """
        test = cfg.MODEL.MASK_FORMER.TEST
        on = {"semantic": test.SEMANTIC_ON, "instance": test.INSTANCE_ON, "panoptic": test.PANOPTIC_ON}
        scores_last = tuple(on.values()) == (True, False, False) and not test.SEM_SEG_POSTPROCESSING_BEFORE_INFERENCE
        return {
            **segmenter_parts(cfg),
            "tasks": frozenset(task for task, wanted in on.items() if wanted),
            "things": things_from_config(cfg, "MODEL.MASK_FORMER.TEST.PANOPTIC_ON: True") if test.PANOPTIC_ON else None,
            "max_instances": cfg.TEST.DETECTIONS_PER_IMAGE,
            "object_threshold": test.OBJECT_MASK_THRESHOLD,
            "overlap_threshold": test.OVERLAP_THRESHOLD,
            "resize_class_scores": scores_last,
        }

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return self.preprocessor.mean.device

    def forward(self, batch: list[dict[str, Any]]) -> dict[str, Tensor] | list[dict[str, Any]]:
        """Losses in training, results otherwise.

        Args:
            batch: per image ``image`` ``(3, h, w)`` in 0 to 255, ``height`` and ``width`` of the output (default: as given),
                and in training ``instances`` with ``gt_classes`` ``(N,)`` and ``gt_masks`` ``(N, h, w)``.

        Returns: weighted losses by name, or per image a dict with ``sem_seg`` ``(K, H, W)``, ``instances`` and
            ``panoptic_seg`` as far as they are switched on.
        """
        stack = self.preprocessor([record["image"] for record in batch])
        output = self.sem_seg_head(self.backbone(stack.tensor))
        if self.training:
            targets = [self._targets(record["instances"], stack) for record in batch]
            return self.criterion.weighted(self.criterion(output.predictions, targets))
        final = output.final
        return [
            self._result(final.logits[i], final.masks[i, :, 0], stack.padded, stack.sizes[i], record)
            for i, record in enumerate(batch)
        ]

    def _targets(self, instances: Any, stack: ImageStack) -> MaskTargets:  # noqa: ANN401  Detectron2's or our container
        masks = torch.as_tensor(getattr(instances.gt_masks, "tensor", instances.gt_masks)).to(self.device)
        padded = masks.new_zeros((len(masks), 1, *stack.padded))
        padded[:, 0, : masks.shape[-2], : masks.shape[-1]] = masks
        return MaskTargets(instances.gt_classes.to(self.device), padded)

    def _result(
        self, logits: Tensor, masks: Tensor, padded: tuple[int, int], unpadded: tuple[int, int], record: dict[str, Any]
    ) -> dict[str, Any]:
        size = record.get("height", unpadded[0]), record.get("width", unpadded[1])
        if self.resize_class_scores:  # class scores at the padded size, then crop and resize: the order of semantic-only models
            scores = semantic_result(logits, resize_masks(masks, padded, padded, padded))
            return {"sem_seg": resize_masks(scores, padded, unpadded, size)}
        result: dict[str, Any] = {}
        if "instance" in self.tasks:
            things = set(self.things) if self.things is not None and "panoptic" in self.tasks else None
            resize = partial(resize_masks, padded=padded, unpadded=unpadded, output=size)
            result["instances"] = instance_result(logits, masks, self.max_instances, things, resize)
        if not self.tasks & {"semantic", "panoptic"}:
            return result
        masks = resize_masks(masks, padded, unpadded, size)
        if "semantic" in self.tasks:
            result["sem_seg"] = semantic_result(logits, masks)
        if "panoptic" in self.tasks:
            result["panoptic_seg"] = panoptic_result(
                logits,
                masks,
                set(self.things or ()),
                object_threshold=self.object_threshold,
                overlap_threshold=self.overlap_threshold,
            )
        return result
