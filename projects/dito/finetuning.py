"""What a training step of the detector computes from its heads' outputs: targets, losses by name (DITO, OLN)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dense.data.mappers.image_detection import DetectionTargets
from dense.errors import DataError
from dense.projects.dito.boxes import BoxCoder
from dense.projects.dito.detection_losses import (
    classification_loss,
    mask_loss,
    objectness_loss,
    proposal_box_loss,
    region_box_loss,
)
from dense.projects.dito.labeling import AnchorTargets, LabelRules
from dense.projects.dito.proposals import AnchorPredictions, ProposalRules
from dense.projects.dito.sampling import (
    ImageTargets,
    RegionSamples,
    SampleRules,
    crop_masks,
    objects_of,
    soft_mask_targets,
)

__all__ = ["Finetuning", "image_targets", "mask_losses", "mask_regions", "proposal_losses", "region_losses"]


@dataclass(frozen=True)
class Finetuning:
    """Everything that only training needs.

    Attributes:
        labels: of the anchors.
        proposals: how many there are in training.
        samples: of the regions.
        background: weight of background regions in the classification loss.
        absent_rows: keep classes that are no base classes in the softmax; otherwise they are masked out, with their objects.
        distillation: weight of the distillation term; 0 = none.
        most_objects: objects of an image that are learnt from.
    """

    labels: LabelRules = field(default_factory=LabelRules)
    proposals: ProposalRules = field(default_factory=ProposalRules)
    samples: SampleRules = field(default_factory=SampleRules)
    background: float = 0.9
    absent_rows: bool = False
    distillation: float = 0.0
    most_objects: int = 300


def image_targets(found: DetectionTargets, masks: bool, learnt: Tensor, most: int) -> ImageTargets:
    """An image's objects as rows of the vocabulary.

    Args:
        found: from the mapper.
        masks: the detector learns masks.
        learnt: ``(C + 1,)`` bool, rows whose objects stay; its device is where the tensors shall be.
        most: objects beyond this number are left out.

    Raises: DataError for objects without masks where there should be some, or a class beyond the vocabulary.
    """
    if masks and found.masks is None:
        raise DataError("instances: no masks, but the detector learns masks. Set MODEL.MASK_ON False or give masks.")
    device = learnt.device
    classes = found.labels.to(device) + 1
    if len(classes) and int(classes.max()) >= len(learnt):
        raise DataError(
            f"instances: class {int(classes.max()) - 1}, but the training vocabulary has {len(learnt) - 1} classes."
        )
    kept = learnt[classes].nonzero()[:most, 0]
    boxes = found.boxes.to(device)[kept]
    crops = None
    if masks and found.masks is not None:
        crops = crop_masks(found.masks.to(device)[kept], boxes)
    return ImageTargets(boxes, classes[kept], crops)


def proposal_losses(predictions: AnchorPredictions, targets: AnchorTargets, rules: LabelRules) -> dict[str, Tensor]:
    """``loss_objectness`` and ``loss_proposal_box``, of stacked targets."""
    return {
        "loss_objectness": objectness_loss(predictions.logits, targets.scores, rules.samples),
        "loss_proposal_box": proposal_box_loss(predictions.boxes, targets.boxes, targets.has_box, rules.samples),
    }


def region_losses(
    logits: Tensor,
    deltas: Tensor,
    samples: Sequence[RegionSamples],
    targets: Sequence[ImageTargets],
    coder: BoxCoder,
    background: float,
) -> dict[str, Tensor]:
    """``loss_class`` and ``loss_box``.

    Args:
        logits: ``(R_1 + R_2 + …, C + 1)``.
        deltas: ``(R_1 + R_2 + …, 4)``.
        samples: per image the regions.
        targets: per image the objects.
        coder: of the deltas.
        background: weight of background regions.
    """
    classes = torch.cat([s.classes for s in samples])
    wanted = coder.encode(objects_of(samples, targets), torch.cat([s.boxes for s in samples]))
    return {
        "loss_class": classification_loss(logits, classes, background),
        "loss_box": region_box_loss(deltas, wanted, classes),
    }


def mask_regions(samples: Sequence[RegionSamples], targets: Sequence[ImageTargets], most: int) -> tuple[list[Tensor], Tensor]:
    """The foreground regions that learn a mask, at most so many per image, and their targets ``(R, 28, 28)``."""
    boxes, wanted = [], []
    for sample, target in zip(samples, targets, strict=True):
        if target.masks is None:
            raise AssertionError("targets of a detector with masks have masks")
        chosen = (sample.classes > 0).nonzero()[:most, 0]
        objects = sample.objects[chosen]
        boxes.append(sample.boxes[chosen])
        wanted.append(soft_mask_targets(target.masks[objects], target.boxes[objects], sample.boxes[chosen]))
    return boxes, torch.cat(wanted)


def mask_losses(logits: Tensor, wanted: Tensor) -> dict[str, Tensor]:
    """``loss_mask`` of ``(R, 1, 28, 28)`` logits."""
    return {"loss_mask": mask_loss(logits[:, 0].float(), wanted)}
