"""Set criterion: classes of all queries, masks of the matched ones, on every supervised prediction (Mask2Former, §4.1)."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from torch import Tensor, nn

from dense.modeling.losses.masks import mask_loss, overlap_loss
from dense.modeling.losses.points import PointSource, sample_at_points, uncertain_points, uniform_points
from dense.modeling.predictions import MaskPrediction, MaskTargets
from dense.modeling.registries import CRITERIA, MATCHERS

__all__ = ["SetCriterion"]

Match = tuple[Tensor, Tensor]
Matcher = Callable[[MaskPrediction, Sequence[MaskTargets]], list[Match]]


@CRITERIA.register
class SetCriterion(nn.Module):
    """Losses of a list of predictions against the targets; every prediction is matched on its own, or all as one guide."""

    empty_weight: Tensor

    @configurable
    def __init__(
        self,
        *,
        num_classes: int,
        matcher: Matcher,
        weights: dict[str, float],
        no_object_weight: float,
        num_points: int,
        oversample: float,
        importance: float,
        deep_supervision: bool = True,
        draw: PointSource = uniform_points,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.matcher = matcher
        self.weights = weights
        self.num_points, self.oversample, self.importance = num_points, oversample, importance
        self.deep_supervision = deep_supervision
        self.draw = draw
        weight = torch.ones(num_classes + 1)
        weight[-1] = no_object_weight
        self.register_buffer("empty_weight", weight)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Read MODEL.MASK_FORMER.* and MODEL.SEM_SEG_HEAD.NUM_CLASSES; builds the matcher."""
        keys = cfg.MODEL.MASK_FORMER
        return {
            "num_classes": cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES,
            "matcher": MATCHERS.get(keys.MATCHER_NAME)(cfg),
            "weights": {"loss_ce": keys.CLASS_WEIGHT, "loss_mask": keys.MASK_WEIGHT, "loss_dice": keys.DICE_WEIGHT},
            "no_object_weight": keys.NO_OBJECT_WEIGHT,
            "num_points": keys.TRAIN_NUM_POINTS,
            "oversample": keys.OVERSAMPLE_RATIO,
            "importance": keys.IMPORTANCE_SAMPLE_RATIO,
            "deep_supervision": keys.DEEP_SUPERVISION,
        }

    def forward(self, predictions: Sequence[MaskPrediction], targets: Sequence[MaskTargets]) -> dict[str, Tensor]:
        """Unweighted losses; see ``matched``."""
        return self.matched(predictions, targets)[0]

    def matched(
        self, predictions: Sequence[MaskPrediction], targets: Sequence[MaskTargets], guide: MaskPrediction | None = None
    ) -> tuple[dict[str, Tensor], list[Match]]:
        """Unweighted losses and the matches.

        Args:
            predictions: the final one last; the earlier ones are the auxiliary ones, in order.
            targets: one per record of the batch.
            guide: what is matched in place of the predictions, once for all of them; ``None`` = each is matched itself.

        Returns: ``loss_ce``, ``loss_mask``, ``loss_dice`` of the final prediction, with suffix ``_i`` of auxiliary ``i``; and
            the matches made last, which are those of the last auxiliary prediction, if there is any.
        """
        num_masks = self._count(targets, predictions[-1].logits.device)
        given = None if guide is None else self.matcher(guide, targets)
        losses, matches = self._losses(predictions[-1], targets, num_masks, given)
        if self.deep_supervision:
            for i, prediction in enumerate(predictions[:-1]):
                auxiliary, matches = self._losses(prediction, targets, num_masks, given)
                losses |= {f"{name}_{i}": loss for name, loss in auxiliary.items()}
        return losses, matches

    def weighted(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """Each loss times its weight; losses without a weight are dropped."""
        stem = {name: name.rstrip("0123456789").rstrip("_") for name in losses}
        return {name: loss * self.weights[stem[name]] for name, loss in losses.items() if stem[name] in self.weights}

    def _losses(
        self, prediction: MaskPrediction, targets: Sequence[MaskTargets], num_masks: float, matches: list[Match] | None
    ) -> tuple[dict[str, Tensor], list[Match]]:
        if matches is None:
            matches = self.matcher(prediction, targets)
        losses = {"loss_ce": self._class_loss(prediction.logits, targets, matches)}
        return losses | self._mask_losses(prediction, targets, matches, num_masks), matches

    def _class_loss(self, logits: Tensor, targets: Sequence[MaskTargets], matches: list[Match]) -> Tensor:
        classes = torch.full(logits.shape[:2], self.num_classes, dtype=torch.int64, device=logits.device)
        for record, (query, obj) in enumerate(matches):
            classes[record, query.to(logits.device)] = targets[record].labels.to(logits.device)[obj.to(logits.device)]
        return F.cross_entropy(logits.float().transpose(1, 2), classes, self.empty_weight)

    def _mask_losses(
        self, prediction: MaskPrediction, targets: Sequence[MaskTargets], matches: list[Match], num_masks: float
    ) -> dict[str, Tensor]:
        device = prediction.logits.device
        record = torch.cat([torch.full_like(query, i) for i, (query, _) in enumerate(matches)]).to(device)
        query = torch.cat([query for query, _ in matches]).to(device)
        chosen = prediction.chosen_masks(record, query).flatten(0, 1)[:, None].float()  # (G·T, 1, h, w)
        wanted = torch.cat([t.masks[obj.to(t.masks.device)] for t, (_, obj) in zip(targets, matches, strict=True)])
        wanted = wanted.flatten(0, 1)[:, None].to(device)  # (G·T, 1, H, W)
        with torch.no_grad():
            points = uncertain_points(
                chosen, self.num_points, oversample=self.oversample, importance=self.importance, draw=self.draw
            )
            sampled_targets = sample_at_points(wanted, points)[:, 0]
        logits = _sample_keeping_graph(chosen, points)
        return {
            "loss_mask": mask_loss(logits, sampled_targets, num_masks),
            "loss_dice": overlap_loss(logits, sampled_targets, num_masks),
        }

    @staticmethod
    def _count(targets: Sequence[MaskTargets], device: torch.device) -> float:
        """Objects per process, averaged over processes, at least 1."""
        count = torch.tensor([float(sum(len(t.labels) for t in targets))], device=device)
        world = 1
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(count)
            world = torch.distributed.get_world_size()
        return max(float(count) / world, 1.0)


def _sample_keeping_graph(maps: Tensor, points: Tensor) -> Tensor:
    """``(G, P)`` values; with G = 0 still a part of the graph, so that every parameter gets a (zero) gradient."""
    if maps.shape[0] == 0:
        return maps.sum() + points.new_zeros(0, points.shape[1])
    return sample_at_points(maps, points)[:, 0]
