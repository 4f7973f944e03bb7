"""Losses of the tracker and the refiner; both are matched to the stage before them in the first half of the training."""

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import CfgNode
from torch import Tensor

from dense.modeling.losses import SetCriterion
from dense.modeling.matchers import ConsistentMatcher, HungarianMatcher
from dense.modeling.predictions import MaskPrediction, MaskTargets
from dense.modeling.registries import CRITERIA
from dense.projects.dvis.contrast import MemoryContrast, reference_losses
from dense.projects.dvis.refiners import Refined
from dense.projects.dvis.trackers import Tracked

__all__ = ["refiner_criterion", "refining_losses", "tracker_criterion", "tracking_losses"]

_CONTRAST_WEIGHT = 2.0


def tracker_criterion(cfg: CfgNode) -> SetCriterion:
    """Criterion whose matches hold for the whole clip; weighs the contrastive loss only if MODEL.TRACKER.USE_CL."""
    return _criterion(cfg, cfg.MODEL.TRACKER.USE_CL, matcher=ConsistentMatcher(cfg))


def refiner_criterion(cfg: CfgNode) -> SetCriterion:
    """Criterion of clips as one tall picture: as many times more points as there are frames."""
    points = cfg.MODEL.MASK_FORMER.TRAIN_NUM_POINTS * cfg.INPUT.SAMPLING_FRAME_NUM
    matcher = HungarianMatcher(cfg, num_points=points)
    return _criterion(cfg, cfg.MODEL.REFINER.USE_CL, matcher=matcher, num_points=points)


def _criterion(cfg: CfgNode, contrast: bool, **parts: Any) -> SetCriterion:  # noqa: ANN401
    criterion: SetCriterion = CRITERIA.get(cfg.MODEL.MASK_FORMER.CRITERION_NAME)(cfg, **parts)
    if contrast:
        criterion.weights["loss_reid"] = _CONTRAST_WEIGHT
    return criterion


def tracking_losses(
    criterion: SetCriterion, tracked: Tracked, clips: Sequence[MaskTargets], guide: MaskPrediction | None, *, contrast: bool
) -> dict[str, Tensor]:
    """Weighted losses of B clips; the contrastive ones are means over the clips.

    Args:
        criterion: from ``tracker_criterion``.
        tracked: the tracker's output.
        clips: targets of each, T frames.
        guide: predictions to match in place of the tracker's, frames as records, clip after clip; ``None`` = its own.
        contrast: compare the references of neighbouring frames too.
    """
    frames = tracked.order.shape[1]
    targets = [clip.frame(t) for clip in clips for t in range(frames)]
    losses, matches = criterion.matched(tracked.predictions, targets, guide)
    if contrast:
        slots = [match[0] for match in matches[::frames]]
        losses |= _means([reference_losses(*pair) for pair in zip(tracked.references, slots, strict=True)])
    return criterion.weighted(losses)


def refining_losses(
    criterion: SetCriterion,
    refined: Refined,
    clips: Sequence[MaskTargets],
    guide: MaskPrediction | None,
    contrast: MemoryContrast | None,
) -> dict[str, Tensor]:
    """Weighted losses of B clips, masks of all frames stacked along the height; the contrastive ones are means over the clips.

    Args:
        criterion: from ``refiner_criterion``.
        refined: the refiner's output.
        clips: targets of each, T frames.
        guide: predictions to match in place of the refiner's, clips as records; ``None`` = its own.
        contrast: compares the objects with those of earlier clips, of this batch too; ``None`` = no such loss.
    """
    targets = [MaskTargets(clip.labels, clip.masks.flatten(1, 2)[:, None], clip.ids) for clip in clips]
    stacked = [_stacked(prediction) for prediction in refined.predictions]
    losses, matches = criterion.matched(stacked, targets, None if guide is None else _stacked(guide))
    if contrast is not None:
        losses |= _means(
            [
                contrast(embeddings, slots, clip.labels[objects.to(clip.labels.device)])
                for embeddings, (slots, objects), clip in zip(refined.embeddings, matches, clips, strict=True)
            ]
        )
    return criterion.weighted(losses)


def _means(losses: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Mean of each loss over the clips: what as many processes of one clip would give."""
    return {name: torch.stack([clip[name] for clip in losses]).mean() for name in losses[0]}


def _stacked(prediction: MaskPrediction) -> MaskPrediction:
    """``(B, Q, T, h, w)`` → ``(B, Q, 1, T·h, w)``."""
    return MaskPrediction(prediction.logits, prediction.masks.flatten(2, 3)[:, :, None])
