"""MV-InfoNCE and MV-DHEL: one term per sample that aligns all its views at once."""

import math
from itertools import combinations
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from torch import Tensor

from dense.errors import ConfigError
from dense.modeling.objectives.base import Objective
from dense.modeling.objectives.batch import Batch
from dense.modeling.objectives.similarity import Columns, row_lse
from dense.modeling.registries import OBJECTIVES

__all__ = ["MVDHEL", "MVInfoNCE"]


def aligned_views(batch: Batch) -> tuple[Tensor, Tensor]:
    """``(B,)`` lse of the similarities over unordered pairs of visible views, and ``(B,)`` bool: samples that have a pair."""
    pairs = list(combinations(range(len(batch.views)), 2))
    logits = torch.stack([batch.positives(a, b) * batch.scale for a, b in pairs])  # (pairs, B)
    if batch.visible is None:
        return torch.logsumexp(logits, 0), torch.ones_like(batch.weights, dtype=torch.bool)
    seen = batch.visible
    together = torch.stack([seen[a] & seen[b] for a, b in pairs])
    counted = together.any(0)
    # Samples without a pair are left out of the mean; a finite number in their place keeps the gradient finite.
    logits = torch.where(together | ~counted, logits, logits.new_full((), -torch.inf))
    return torch.logsumexp(logits, 0), counted


class _MultiView(Objective):
    """Both objectives: energy per sample minus alignment, mean over the samples with two views or more."""

    most_views = None
    takes_visible = True

    def compute(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """See the sub-classes."""
        aligned, counted = aligned_views(batch)
        energy, extra = self.energy_rows(batch)
        rows = energy - self.alignment_rows(aligned)
        loss = batch.mean(rows, counted)
        terms = {"energy": batch.mean(energy, counted), "alignment": batch.mean(aligned, counted)}
        return loss, {**terms, "samples_left_out": (~counted).sum().to(loss), **extra}

    def energy_rows(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """``(B,)`` energies and further terms."""
        raise NotImplementedError

    def alignment_rows(self, aligned: Tensor) -> Tensor:
        """From the lse over unordered pairs to what the objective subtracts."""
        return aligned


@OBJECTIVES.register
class MVInfoNCE(_MultiView):
    """ℓ_i = E_i - P_i: lse over ordered pairs of own views against lse over what the views of i are compared with.

    Energy "all" (public code): every row of every view but the view itself, V·(VB - 1) terms, same-view negatives included.
    Energy "cross" (public README): rows of other views only, V(V - 1)B terms. Unseen views (``visible``) enter nowhere; samples
    with fewer than two are left out of the mean but serve as negatives.

    Args:
        energy: "all" or "cross".
        **common: see ``Objective``.

    Source: Multi-view contrastive learning (Koromilas et al.).
    """

    @configurable
    def __init__(self, *, energy: str = "all", **common: Any) -> None:  # noqa: ANN401
        super().__init__(**common)
        if energy not in ("all", "cross"):
            raise ConfigError(f"energy: {energy!r}, expected 'all' or 'cross'.")
        self.energy = energy

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """See ``objective_node``."""
        return super().from_config(cfg) | {"energy": cfg.ENERGY}

    def energy_rows(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """``(B,)``: lse over the visible views of each sample of their own lse."""
        per_view = torch.stack([self._energy_of(batch, view) for view in range(len(batch.views))])  # (V, B)
        if batch.visible is not None:
            nobody = ~batch.visible.any(0)
            per_view = torch.where(batch.visible | nobody, per_view, per_view.new_full((), -torch.inf))
        return torch.logsumexp(per_view, 0), {}

    def alignment_rows(self, aligned: Tensor) -> Tensor:
        """Ordered pairs: each pair twice."""
        return aligned + math.log(2)

    def _energy_of(self, batch: Batch, view: int) -> Tensor:
        others = [v for v in range(len(batch.views)) if self.energy == "all" or v != view]
        columns = torch.cat([batch.columns[v] for v in others])
        alive = batch.visible_columns
        itself = (batch.own + view * batch.total)[:, None] if self.energy == "all" else None
        kept = Columns(drop=itself, mask=batch.mask, alive=None if alive is None else alive[others].flatten())
        return row_lse(batch.views[view], columns, batch.scale, kept, chunk=batch.chunk)


@OBJECTIVES.register
class MVDHEL(_MultiView):
    """ℓ_i = Σ over views of lse over other samples of the same view, minus lse over unordered pairs of own views.

    Alignment is separate from uniformity, and no view is compared with another sample's other view. A view without any other
    visible sample contributes nothing; these are counted in ``terms["rows_without_negatives"]``.

    Args:
        per_view_scale: divide by V, so that learning rates carry over between numbers of views.
        **common: see ``Objective``.

    Source: Multi-view contrastive learning (Koromilas et al.); with two views the DHEL loss.
    """

    @configurable
    def __init__(self, *, per_view_scale: bool = False, **common: Any) -> None:  # noqa: ANN401
        super().__init__(**common)
        self.per_view_scale = per_view_scale

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """See ``objective_node``."""
        return super().from_config(cfg) | {"per_view_scale": cfg.PER_VIEW_SCALE}

    def compute(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """See the class."""
        loss, terms = super().compute(batch)
        return (loss / len(batch.views) if self.per_view_scale else loss), terms

    def energy_rows(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """``(B,)`` and the number of views without negatives."""
        own, alive = batch.without_own(), batch.visible_columns
        per_view = []
        for v, (rows, columns) in enumerate(zip(batch.views, batch.columns, strict=True)):
            kept = Columns(drop=own.drop, mask=own.mask, alive=None if alive is None else alive[v])
            per_view.append(row_lse(rows, columns, batch.scale, kept, chunk=batch.chunk))
        energies = torch.stack(per_view)  # (V, B)
        alone = torch.isneginf(energies)
        seen = torch.ones_like(alone) if batch.visible is None else batch.visible
        energies = torch.where(seen & ~alone, energies, torch.zeros_like(energies))
        return energies.sum(0), {"rows_without_negatives": (seen & alone).sum().to(energies)}
