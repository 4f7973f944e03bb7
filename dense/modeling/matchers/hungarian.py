"""Hungarian matcher: one query per object at the least total cost (DETR, §3.1; Mask2Former, §4.1)."""

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from dense.errors import DataError, NonFiniteError
from dense.modeling.losses.masks import mask_cost, overlap_cost
from dense.modeling.losses.points import PointSource, sample_at_points, uniform_points
from dense.modeling.predictions import MaskPrediction, MaskTargets
from dense.modeling.registries import MATCHERS

__all__ = ["HungarianMatcher", "Match", "assign"]

#: query indices (ascending) and target indices, both ``(min(Q, N),)`` int64
Match = tuple[Tensor, Tensor]


@MATCHERS.register
class HungarianMatcher:
    """Match every record (image, frame or clip) of a batch on its own; no gradient."""

    @configurable
    def __init__(
        self,
        *,
        class_weight: float,
        mask_weight: float,
        dice_weight: float,
        num_points: int,
        draw: PointSource = uniform_points,
    ) -> None:
        self.class_weight, self.mask_weight, self.dice_weight = class_weight, mask_weight, dice_weight
        self.num_points = num_points
        self.draw = draw

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Read MODEL.MASK_FORMER.*_WEIGHT and TRAIN_NUM_POINTS."""
        keys = cfg.MODEL.MASK_FORMER
        return {
            "class_weight": keys.CLASS_WEIGHT,
            "mask_weight": keys.MASK_WEIGHT,
            "dice_weight": keys.DICE_WEIGHT,
            "num_points": keys.TRAIN_NUM_POINTS,
        }

    @torch.no_grad()
    def __call__(self, prediction: MaskPrediction, targets: Sequence[MaskTargets]) -> list[Match]:
        """Match a batch.

        Args:
            prediction: of B records.
            targets: B records; their T is the prediction's.

        Returns: one pair of index vectors per record.
        Raises:
            DataError: a label is not below the number of classes.
            NonFiniteError: the outputs hold NaN or infinity.
        """
        matches = []
        for record, target in enumerate(targets):
            matches.append(assign(self.cost(prediction.logits[record], prediction.record_masks(record), target), record))
        return matches

    @torch.no_grad()
    def cost(self, logits: Tensor, masks: Tensor, target: MaskTargets) -> Tensor:
        """Cost of every pair: ``(Q, K+1)``, ``(Q, T, h, w)``, N objects → ``(Q, N)`` float32.

        One set of points is drawn for the record and shared by all queries, objects and frames.
        """
        classes = logits.shape[-1] - 1
        if len(target.labels) and not 0 <= int(target.labels.min()) <= int(target.labels.max()) < classes:
            raise DataError(f"labels: {target.labels.tolist()}, expected 0 to {classes - 1} (MODEL.SEM_SEG_HEAD.NUM_CLASSES).")
        class_cost = -logits.float().softmax(-1)[:, target.labels]
        points = self.draw((1, self.num_points, 2), masks.device)
        x = sample_at_points(masks[None].flatten(1, 2).float(), points)[0]  # (Q·T, P)
        t = sample_at_points(target.masks[None].flatten(1, 2).to(masks.device), points)[0]
        x = x.view(len(masks), -1)  # (Q, T·P)
        t = t.view(len(target.masks), x.shape[1])
        with torch.autocast(masks.device.type, enabled=False):
            return self.mask_weight * mask_cost(x, t) + self.class_weight * class_cost + self.dice_weight * overlap_cost(x, t)


def assign(cost: Tensor, record: int) -> Match:
    """The assignment of least total cost: ``(Q, N)`` → query indices (ascending) and target indices, ``(min(Q, N),)`` each.

    Raises: NonFiniteError naming the record of the batch if a cost is NaN or infinite.
    """
    if not torch.isfinite(cost).all():
        raise NonFiniteError(f"record {record} of the batch: the model's outputs are not finite (NaN or infinity).")
    rows, columns = linear_sum_assignment(cost.cpu().numpy())
    return torch.as_tensor(rows, dtype=torch.int64), torch.as_tensor(columns, dtype=torch.int64)
