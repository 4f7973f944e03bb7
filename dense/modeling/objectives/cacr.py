"""CACR: contrastive attraction pulls far positives harder, contrastive repulsion pushes near negatives harder."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from torch import Tensor

from dense.errors import ConfigError, DataError
from dense.modeling.objectives.base import Objective
from dense.modeling.objectives.batch import Batch
from dense.modeling.objectives.checking import check_views, unit_rows
from dense.modeling.objectives.gathering import world_size
from dense.modeling.objectives.queue import RowQueue
from dense.modeling.objectives.similarity import Columns, row_lse, row_mean
from dense.modeling.registries import OBJECTIVES

__all__ = ["CACR", "CACRMomentum"]


def attraction_rows(distances: Tensor, t_pos: float, detach: bool) -> Tensor:
    """``(P, B)`` squared distances to P positives → ``(B,)`` mean weighted by softmax(t⁺ · distance)."""
    shares = torch.softmax(t_pos * distances, 0)
    return ((shares.detach() if detach else shares) * distances).sum(0)


@OBJECTIVES.register
class CACR(Objective):
    """Attraction minus repulsion with d(a, b) = 2 - 2·cos.

    CA = (α/V) Σ_v mean_i Σ_{u≠v} π⁺ d(z^v_i, z^u_i), π⁺ = softmax_u(t⁺ d). CR = -β · mean over pairs v<u and i of
    Σ_{j≠i} π⁻ d(z^v_i, z^u_j), π⁻ = softmax_j(-t⁻ d). With ``queue_size`` above 0 the further input ``keys`` (V momentum
    embeddings, constants) takes the place of the positives, a queue that of the negatives; weights are constants then.

    Differentiated through π⁻ a negative farther than the weighted mean + 1/t⁻ is *attracted*; detached, never.

    Args:
        alpha: weight of the attraction.
        beta: weight of the repulsion.
        t_pos: t⁺, 0 or more.
        t_neg: t⁻, 0 or more.
        detach_weights: treat π as constants in the backward pass.
        queue_size: rows of the queue; 0 = negatives from the batch.
        dim: D, for the queue.
        **common: see ``Objective``; the temperature has no effect.

    Source: Zheng et al., Contrastive attraction and contrastive repulsion.
    """

    most_views = None
    inputs = frozenset({"keys"})

    @configurable
    def __init__(
        self,
        *,
        alpha: float = 1.0,
        beta: float = 1.0,
        t_pos: float = 1.0,
        t_neg: float = 2.0,
        detach_weights: bool = False,
        queue_size: int = 0,
        dim: int = 128,
        **common: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(**common)
        if t_pos < 0 or t_neg < 0:
            raise ConfigError(f"t_pos {t_pos}, t_neg {t_neg}: expected 0 or more.")
        self.alpha, self.beta, self.t_pos, self.t_neg = alpha, beta, t_pos, t_neg
        self.queue = RowQueue(queue_size, dim) if queue_size else None
        self.detach_weights = detach_weights or self.queue is not None
        self.takes_mask = self.queue is None

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """See ``objective_node``."""
        return super().from_config(cfg) | {
            "alpha": cfg.ALPHA,
            "beta": cfg.BETA,
            "t_pos": cfg.T_POS,
            "t_neg": cfg.T_NEG,
            "detach_weights": cfg.DETACH_WEIGHTS,
            "queue_size": cfg.QUEUE_SIZE,
            "dim": cfg.DIM,
        }

    def compute(self, batch: Batch, keys: Sequence[Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """See the class."""
        if (keys is not None) != (self.queue is not None):
            raise DataError("keys: the form with a queue (QUEUE_SIZE above 0) needs momentum keys, the one without takes none.")
        partners = batch.views if keys is None else self._keys(batch, keys)
        attraction = torch.stack([self._attraction(batch, v, partners) for v in range(len(batch.views))]).mean()
        if self.queue is None:
            repulsion, alone = self._batch_repulsion(batch)
        else:
            repulsion, alone = self._queue_repulsion(batch, self.queue), 0
            if self.training:
                self.queue.push(batch.gathered(partners[-1]))
        loss = self.alpha * attraction + self.beta * repulsion
        terms = {"attraction": attraction, "repulsion": repulsion}
        return loss, {**terms, "rows_without_negatives": loss.new_tensor(alone)}

    def _attraction(self, batch: Batch, view: int, partners: Sequence[Tensor]) -> Tensor:
        anchor = batch.views[view]
        others = [partner for u, partner in enumerate(partners) if u != view]
        distances = torch.stack([2 - 2 * (anchor * other).sum(1) for other in others])
        return batch.mean(attraction_rows(distances, self.t_pos, self.detach_weights))

    def _batch_repulsion(self, batch: Batch) -> tuple[Tensor, int]:
        pairs, kept = list(combinations(range(len(batch.views)), 2)), batch.without_own()
        counted = batch.weights >= 0
        if batch.mask is not None:  # of the masked rows some may have lost all their negatives
            counted = batch.mask.sum(1) > 1
        parts = []
        for v, u in pairs:
            cosine = row_mean(
                batch.views[v],
                batch.columns[u],
                2 * self.t_neg,  # softmax(-t·(2 - 2·cos)) = softmax(2t·cos)
                kept,
                chunk=batch.chunk,
                detach=self.detach_weights,
            )
            parts.append(batch.mean(2 * cosine - 2, counted))
        return torch.stack(parts).mean(), int((~counted).sum()) * len(pairs)

    def _queue_repulsion(self, batch: Batch, queue: RowQueue) -> Tensor:
        rows = queue.filled().to(batch.views[0]).clone()
        if not len(rows):
            return 0 * torch.stack([view.sum() for view in batch.views]).sum()
        cosines = [row_mean(view, rows, 2 * self.t_neg, chunk=batch.chunk, detach=True) for view in batch.views]
        return torch.stack([batch.mean(2 * cosine - 2) for cosine in cosines]).mean()

    def _keys(self, batch: Batch, keys: Sequence[Tensor]) -> list[Tensor]:
        check_views([batch.views[0], *keys], type(self).__name__, len(batch.views) + 1, len(batch.views) + 1)
        return [unit_rows(key.detach(), f"keys[{v}]", self.normalise) for v, key in enumerate(keys)]


@OBJECTIVES.register
class CACRMomentum(Objective):
    """Queries from several crops against one momentum key per sample; the queries farther from it weigh more.

    p_v = softmax_v(‖q^v - k‖²/T), a constant. Cost "rbf": 2T · Σ_v mean_i p_v,i · (lse_j q·k_j/T - q·k_i/T), keys of all
    processes. Cost "euclidean": Σ_v Σ_i p_v,i (c_ii - Σ_{j≠i} π_ij c_ij), c = 1 - q·k, π = softmax_j(-c/T), a constant.

    Views are the queries (one or more); the further input ``key`` ``(B, D)`` is a constant. T is the temperature.

    Args:
        cost: "rbf" or "euclidean".
        sum_batch: sum the Euclidean form over the batch, as published; else its mean.
        **common: see ``Objective``; the published recipes have T = 1 (ResNet-50) and 0.2 (ViT).

    Source: Zheng et al., ImageNet form.
    """

    least_views, most_views = 1, None
    inputs = frozenset({"key"})

    @configurable
    def __init__(self, *, cost: str = "rbf", sum_batch: bool = True, temperature: float = 1.0, **common: Any) -> None:  # noqa: ANN401
        super().__init__(temperature=temperature, **common)
        if cost not in ("rbf", "euclidean"):
            raise ConfigError(f"cost: {cost!r}, expected 'rbf' or 'euclidean'.")
        if self.temperature.log_scale is not None:
            raise ConfigError(
                "learn_temperature: CACRMomentum weights its loss by the temperature, which would shrink; give a number."
            )
        self.cost, self.sum_batch = cost, sum_batch

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """See ``objective_node``."""
        return super().from_config(cfg) | {"cost": cfg.COST, "sum_batch": cfg.SUM_BATCH}

    def compute(self, batch: Batch, key: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """See the class."""
        if key is None:
            raise DataError("key: absent; CACRMomentum needs the momentum embeddings (B, D).")
        check_views([batch.views[0], key], type(self).__name__, 2, 2)
        key = unit_rows(key.detach(), "key", self.normalise)
        columns = batch.gathered(key)
        shares = torch.stack([2 - 2 * (query.detach() * key).sum(1) for query in batch.views]) * batch.scale
        rows = [self._rows(batch, query, key, columns) for query in batch.views]
        weighted = (torch.softmax(shares, 0) * torch.stack(rows)).sum(0)
        if self.cost == "euclidean" and self.sum_batch:
            loss = weighted.mul(batch.weights).sum() * (world_size() if self.distributed else 1)
        else:
            loss = batch.mean(weighted)
        return loss, {"contrast": loss}

    def _rows(self, batch: Batch, query: Tensor, key: Tensor, columns: Tensor) -> Tensor:
        positive = (query * key).sum(1)
        if self.cost == "rbf":
            lse = row_lse(query, columns, batch.scale, Columns(mask=batch.mask), chunk=batch.chunk)
            return 2 / batch.scale * (lse - positive * batch.scale)
        cosine = row_mean(query, columns, 1 / self.temperature.value, batch.without_own(), chunk=batch.chunk, detach=True)
        return cosine - positive  # (1 - positive) - (1 - weighted mean)
