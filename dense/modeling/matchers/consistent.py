"""Consistent matcher: an object is matched where it is first seen, and keeps that query in the whole clip (DVIS)."""

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from torch import Tensor

from dense.errors import DataError
from dense.modeling.matchers.hungarian import HungarianMatcher, Match, assign
from dense.modeling.predictions import MaskPrediction, MaskTargets
from dense.modeling.registries import MATCHERS

__all__ = ["ConsistentMatcher"]

_TAKEN = 1e6  # cost of a query that already has an object


@MATCHERS.register
class ConsistentMatcher:
    """Match clips whose frames are the records of a batch, clip after clip; no gradient."""

    @configurable
    def __init__(self, *, costs: HungarianMatcher, frames: int) -> None:
        self.costs, self.frames = costs, frames

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Read INPUT.SAMPLING_FRAME_NUM; builds the matcher that knows the costs."""
        return {"costs": HungarianMatcher(cfg), "frames": cfg.INPUT.SAMPLING_FRAME_NUM}

    @torch.no_grad()
    def __call__(self, prediction: MaskPrediction, targets: Sequence[MaskTargets]) -> list[Match]:
        """Match a batch.

        Args:
            prediction: of B = clips x ``frames`` records.
            targets: B records with ids ``(N, 1)``; all frames of a clip list the same objects in the same order.

        Returns: one pair of index vectors per record, the same for all frames of a clip. An object that is never visible, and
            one that comes when all queries are taken, is left out (the reference gives the latter a query a second time).
        Raises: DataError if B is no multiple of ``frames``; else as ``HungarianMatcher``.
        """
        if len(targets) % self.frames:
            raise DataError(f"batch: {len(targets)} frames, expected clips of {self.frames} (INPUT.SAMPLING_FRAME_NUM).")
        matches: list[Match] = []
        for first in range(0, len(targets), self.frames):
            clip = range(first, first + self.frames)
            matches += [self._match_clip(prediction, targets, clip)] * self.frames
        return matches

    def _match_clip(self, prediction: MaskPrediction, targets: Sequence[MaskTargets], clip: range) -> Match:
        visible = torch.stack([_visible(targets[record]) for record in clip], dim=1)  # (N, T)
        start = torch.where(visible.any(1), visible.int().argmax(1), -1)
        taken = torch.zeros(prediction.logits.shape[1], dtype=torch.bool)
        queries, objects = [torch.zeros(0, dtype=torch.int64)], [torch.zeros(0, dtype=torch.int64)]
        for frame, record in enumerate(clip):
            new = (start == frame).nonzero()[:, 0]
            if not len(new):
                continue
            target = targets[record].keep(new.to(targets[record].labels.device))
            cost = self.costs.cost(prediction.logits[record], prediction.record_masks(record), target)
            query, which = assign(cost.masked_fill(taken.to(cost.device)[:, None], _TAKEN), record)
            free = ~taken[query]
            queries.append(query[free])
            objects.append(new[which[free]])
            taken[query] = True
        return torch.cat(queries), torch.cat(objects)


def _visible(target: MaskTargets) -> Tensor:
    if target.ids is None:
        raise AssertionError("targets of a clip carry ids")
    return target.ids[:, 0].cpu() != -1
