"""Losses of the tracker and the refiner; both are matched to the stage before them in the first half of the training."""

from typing import Any

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
    criterion: SetCriterion, tracked: Tracked, clip: MaskTargets, guide: MaskPrediction | None, *, contrast: bool
) -> dict[str, Tensor]:
    """Weighted losses of a clip.

    Args:
        criterion: from ``tracker_criterion``.
        tracked: the tracker's output.
        clip: T frames.
        guide: predictions to match in place of the tracker's, frames as records; ``None`` = its own.
        contrast: compare the references of neighbouring frames too.
    """
    frames = [clip.frame(t) for t in range(clip.masks.shape[1])]
    losses, matches = criterion.matched(tracked.predictions, frames, guide)
    if contrast:
        losses |= reference_losses(tracked.references, matches[0][0])
    return criterion.weighted(losses)


def refining_losses(
    criterion: SetCriterion, refined: Refined, clip: MaskTargets, guide: MaskPrediction | None, contrast: MemoryContrast | None
) -> dict[str, Tensor]:
    """Weighted losses of a clip; masks of all frames are stacked along the height.

    Args:
        criterion: from ``refiner_criterion``.
        refined: the refiner's output for one clip.
        clip: T frames.
        guide: predictions to match in place of the refiner's, the clip as record; ``None`` = its own.
        contrast: compares the objects with those of earlier clips; ``None`` = no such loss.
    """
    targets = [MaskTargets(clip.labels, clip.masks.flatten(1, 2)[:, None], clip.ids)]
    stacked = [_stacked(prediction) for prediction in refined.predictions]
    losses, matches = criterion.matched(stacked, targets, None if guide is None else _stacked(guide))
    if contrast is not None:
        slots, objects = matches[0]
        losses |= contrast(refined.embeddings[0], slots, clip.labels[objects.to(clip.labels.device)])
    return criterion.weighted(losses)


def _stacked(prediction: MaskPrediction) -> MaskPrediction:
    """``(B, Q, T, h, w)`` → ``(B, Q, 1, T·h, w)``."""
    return MaskPrediction(prediction.logits, prediction.masks.flatten(2, 3)[:, :, None])
