"""Decoupled contrastive learning: the positive is not in the denominator (DCL), and may be weighted (DCLW)."""

from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from torch import Tensor

from dense.errors import ConfigError
from dense.modeling.objectives.base import Objective
from dense.modeling.objectives.batch import Batch
from dense.modeling.objectives.similarity import row_lse
from dense.modeling.registries import OBJECTIVES

__all__ = ["DCL", "DCLW"]


@OBJECTIVES.register
class DCL(Objective):
    """InfoNCE without the factor (1 - p⁺) that starves small batches.

    Direction 1→2: ℓ_i = -s(z¹_i, z²_i)/τ + lse over z¹_j and z²_j, j ≠ i, of s(z¹_i, ·)/τ. The loss may be negative. Rows whose
    negatives are all masked are left out and counted in ``terms["rows_without_negatives"]``.

    Args:
        directions: "mean" of both, or "sum" as trained publicly (twice the mean).
        **common: see ``Objective``.

    Source: Yeh et al. 2022.
    """

    @configurable
    def __init__(self, *, directions: str = "mean", **common: Any) -> None:  # noqa: ANN401
        super().__init__(**common)
        if directions not in ("mean", "sum"):
            raise ConfigError(f"directions: {directions!r}, expected 'mean' or 'sum'.")
        self.factor = 0.5 if directions == "mean" else 1.0

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """See ``objective_node``."""
        return super().from_config(cfg) | {"directions": cfg.DIRECTIONS}

    def compute(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """See the class."""
        columns = torch.cat(batch.columns)
        negatives = row_lse(torch.cat(batch.views), columns, batch.scale, batch.without_own(views=2), chunk=batch.chunk)
        counted = ~torch.isneginf(negatives)
        pull = batch.positives(0, 1) * batch.scale * self.pair_weights(batch)
        directions = [batch.mean(part - pull, kept) for part, kept in zip(negatives.chunk(2), counted.chunk(2), strict=True)]
        loss = (directions[0] + directions[1]) * self.factor
        terms = {"first_to_second": directions[0], "second_to_first": directions[1]}
        return loss, {**terms, "rows_without_negatives": (~counted).sum().to(loss)}

    def pair_weights(self, batch: Batch) -> Tensor:
        """``(B,)`` factor of each positive."""
        return torch.ones_like(batch.weights)


@OBJECTIVES.register
class DCLW(DCL):
    """DCL with positives weighted by difficulty: w_i = 2 - B · softmax_i(s(z¹_i, z²_i)/σ), mean 1 over all processes.

    Differentiated through w (as published) pair k is pulled with (w_k - (B/σ)·p_k·(s_k - s̄))/(Bτ): easy pairs may be pushed
    apart. ``detach_weight=True`` never does that.

    Args:
        sigma: σ, above 0.
        detach_weight: treat w as constant in the backward pass.
        **common: see ``DCL``.
    """

    @configurable
    def __init__(self, *, sigma: float = 0.5, detach_weight: bool = False, **common: Any) -> None:  # noqa: ANN401
        super().__init__(**common)
        if sigma <= 0:
            raise ConfigError(f"sigma: {sigma}, expected a number above 0.")
        self.sigma, self.detach_weight = sigma, detach_weight

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """See ``objective_node``."""
        return super().from_config(cfg) | {"sigma": cfg.SIGMA, "detach_weight": cfg.DETACH_WEIGHT}

    def pair_weights(self, batch: Batch) -> Tensor:
        """``(B,)`` w; its sum over all processes is their number of samples."""
        similarity = batch.positives(0, 1) / self.sigma
        everyone = torch.logsumexp(batch.gathered(similarity), 0)
        weights = 2 - batch.total * torch.exp(similarity - everyone)
        return weights.detach() if self.detach_weight else weights
