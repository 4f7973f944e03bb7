"""SwAV: predict the prototypes that another crop of the same picture was assigned to."""

from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from torch import Tensor, nn

from dense.errors import ConfigError, DataError
from dense.modeling.objectives.base import Objective
from dense.modeling.objectives.batch import Batch
from dense.modeling.objectives.gathering import world_size
from dense.modeling.objectives.queue import RowQueue
from dense.modeling.objectives.sinkhorn import sinkhorn
from dense.modeling.registries import OBJECTIVES

__all__ = ["SwAV"]


@OBJECTIVES.register
class SwAV(Objective):
    """L = mean over assigning crops a, and over crops v ≠ a, of the cross-entropy of v's softmax with a's assignment.

    Crops are the views, the assigning ones (full size) first. Assignments are constants. Prototypes are set to unit length
    before each training call, outside the graph. A queue of earlier embeddings stabilises small batches: its rows take part in
    the assignment from step ``queue_start`` on, once it is full.

    Args:
        prototypes: K.
        dim: D.
        epsilon: softness of the assignment.
        iterations: of Sinkhorn.
        assigning: number of crops that give assignments.
        queue_size: rows of the queue over all processes, each holds its share.
        queue_start: step from which the queue is filled and used.
        freeze_steps: prototypes get no gradient in so many first steps (a zero, so that weight decay and the exchange between
            processes go on; decay does nothing to rows that are set to unit length).
        **common: see ``Objective``; ``chunk_size`` has no effect.

    Raises: ConfigError for a number below 1. Source: Caron et al. 2020.
    """

    most_views = None
    takes_mask = False

    @configurable
    def __init__(
        self,
        *,
        prototypes: int = 3000,
        dim: int = 128,
        epsilon: float = 0.05,
        iterations: int = 3,
        assigning: int = 2,
        queue_size: int = 0,
        queue_start: int = 0,
        freeze_steps: int = 0,
        **common: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(**common)
        if min(prototypes, dim, assigning) < 1:
            raise ConfigError(f"prototypes {prototypes}, dim {dim}, assigning {assigning}: expected 1 or more.")
        self.epsilon, self.iterations, self.assigning = epsilon, iterations, assigning
        self.queue_start, self.freeze_steps = queue_start, freeze_steps
        self.prototypes = nn.Parameter(nn.functional.normalize(torch.randn(prototypes, dim), dim=1))
        self.queue = RowQueue(queue_size // self._processes(), dim, assigning)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """See ``objective_node``."""
        return super().from_config(cfg) | {
            "prototypes": cfg.PROTOTYPES,
            "dim": cfg.DIM,
            "epsilon": cfg.EPSILON,
            "iterations": cfg.SINKHORN_ITERS,
            "assigning": cfg.ASSIGNING,
            "queue_size": cfg.QUEUE_SIZE,
            "queue_start": cfg.QUEUE_START,
            "freeze_steps": cfg.FREEZE_PROTOTYPES_ITERS,
        }

    def compute(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """See the class."""
        crops = batch.views
        if len(crops) < self.assigning:
            raise DataError(f"views: {len(crops)} crops, but {self.assigning} of them give assignments (ASSIGNING).")
        if crops[0].shape[1] != self.prototypes.shape[1]:
            raise DataError(
                f"views[0]: {crops[0].shape[1]} dimensions, the prototypes have {self.prototypes.shape[1]}. Set DIM."
            )
        prototypes = self._prototypes().to(crops[0].dtype)
        scores = [crop @ prototypes.T for crop in crops]  # V × (B, K)
        predicted = [torch.log_softmax(score * batch.scale, 1) for score in scores]
        losses, entropies = [], []
        for a in range(self.assigning):
            target = self._assignment(a, scores[a], prototypes)
            rows = [-(target * predicted[v]).sum(1) for v in range(len(crops)) if v != a]
            losses.append(batch.mean(torch.stack(rows).mean(0)))
            entropies.append(batch.mean(-torch.xlogy(target, target).sum(1)))
        self._remember(crops)
        loss = torch.stack(losses).mean()
        return loss, {"swapped": loss, "assignment_entropy": torch.stack(entropies).mean()}

    def _prototypes(self) -> Tensor:
        if self.training:
            # Through .data: a second call before the backward pass changes nothing, but autograd would refuse.
            self.prototypes.data.copy_(nn.functional.normalize(self.prototypes.data, dim=1))
            if int(self.step) < self.freeze_steps:
                return self.prototypes.detach() + 0 * self.prototypes
        return self.prototypes

    @torch.no_grad()
    def _assignment(self, crop: int, scores: Tensor, prototypes: Tensor) -> Tensor:
        joined = scores.detach()
        if self._queue_open() and self.queue.length and self.queue.full:
            joined = torch.cat((self.queue.filled(crop).to(scores) @ prototypes.T, joined))
        return sinkhorn(joined, self.epsilon, self.iterations, distributed=self.distributed)[-len(scores) :]

    def _remember(self, crops: list[Tensor]) -> None:
        if self.training and self.queue.length and self._queue_open():
            self.queue.push(torch.stack([crop.detach() for crop in crops[: self.assigning]]))

    def _queue_open(self) -> bool:
        return int(self.step) >= self.queue_start

    def _processes(self) -> int:
        return world_size() if self.gather == "grad" else 1
