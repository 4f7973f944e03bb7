"""InfoNCE and NT-Xent (SimCLR, CPC, MoCo), and their forms with several positives (SupCon)."""

from collections.abc import Callable
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from torch import Tensor

from dense.errors import ConfigError, DataError
from dense.modeling.objectives.base import Objective
from dense.modeling.objectives.batch import Batch
from dense.modeling.objectives.checking import check_flags
from dense.modeling.objectives.queue import RowQueue
from dense.modeling.objectives.similarity import Columns, row_lse
from dense.modeling.registries import OBJECTIVES
from dense.registry import nearest

__all__ = ["InfoNCE", "ntxent_rows", "oneway_rows"]


def oneway_rows(batch: Batch) -> Tensor:
    """``(B,)`` losses of view 0 as query against view 1 as keys; the positive is in the denominator."""
    lse = row_lse(batch.views[0], batch.columns[1], batch.scale, Columns(mask=batch.mask), chunk=batch.chunk)
    return lse - batch.positives(0, 1) * batch.scale


def ntxent_rows(batch: Batch) -> Tensor:
    """``(2B,)`` losses of the anchors, view 0 then view 1: each against all rows of both views but itself."""
    anchors, columns = torch.cat(batch.views), torch.cat(batch.columns)
    itself = torch.cat((batch.own, batch.own + batch.total))[:, None]
    lse = row_lse(anchors, columns, batch.scale, Columns(drop=itself, mask=batch.mask), chunk=batch.chunk)
    return lse - batch.positives(0, 1).repeat(2) * batch.scale


@OBJECTIVES.register
class InfoNCE(Objective):
    """Pull the two views of a sample together, push everything else apart.

    With S = similarity / τ a row's loss is lse over its columns minus S of its positive. Forms:

    * ``ntxent``: both views are anchors, columns are all rows of both views but the anchor (SimCLR).
    * ``oneway``: view 0 queries the keys of view 1 (CPC; MoCo v3 multiplies it by 2τ).
    * ``queue``: view 0 against its own key of view 1, which is a constant, and a queue of earlier keys (MoCo).
    * ``multi_positive``: one view (a row's columns are all others) or a query and a key view; positives from equal
      ``labels``, or ``pos`` ``(B, N)`` bool. Positives are averaged outside the logarithm ("out", SupCon) or inside ("in").
      Rows without a positive are left out and counted in ``terms["rows_without_positives"]``.

    Args:
        form: one of the above.
        positives: "out" or "in".
        queue_size: rows of the queue.
        dim: D, for the queue.
        **common: see ``Objective``.

    Source: SimCLR (Chen et al. 2020), CPC, MoCo, SupCon.
    """

    least_views = 1
    inputs = frozenset({"pos"})

    @configurable
    def __init__(
        self,
        *,
        form: str = "ntxent",
        positives: str = "out",
        queue_size: int = 0,
        dim: int = 128,
        **common: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(**common)
        if form not in _FORMS:
            raise ConfigError(f"form: unknown {form!r}.{nearest(form, list(_FORMS))}")
        if positives not in ("out", "in"):
            raise ConfigError(f"positives: {positives!r}, expected 'out' or 'in'.")
        self.form, self.positives = form, positives
        self.least_views = 1 if form == "multi_positive" else 2
        self.takes_mask = form != "queue"
        self.queue = RowQueue(queue_size, dim) if form == "queue" else None

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """See ``objective_node``."""
        return super().from_config(cfg) | {
            "form": cfg.FORM,
            "positives": cfg.POSITIVES,
            "queue_size": cfg.QUEUE_SIZE,
            "dim": cfg.DIM,
        }

    def compute(self, batch: Batch, pos: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """See the class."""
        if self.form == "multi_positive":
            return self._multi_positive(batch, pos)
        if pos is not None:
            raise DataError(f"pos: form {self.form!r} has one positive per row; use 'multi_positive'.")
        loss = batch.mean(_FORMS[self.form](self, batch))
        return loss, {"contrast": loss}

    def queued_rows(self, batch: Batch) -> Tensor:
        """``(B,)`` losses against the queue, which then takes the keys of all processes."""
        if self.queue is None:
            raise AssertionError("the form with a queue has one")
        query, key = batch.views[0], batch.views[1].detach()
        positive = (query * key).sum(1) * batch.scale
        negatives = row_lse(query, self.queue.filled().to(query).clone(), batch.scale, chunk=batch.chunk)
        if self.training:
            self.queue.push(batch.gathered(key))
        return torch.logaddexp(positive, negatives) - positive

    def _multi_positive(self, batch: Batch, pos: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        query, columns = batch.views[0], batch.columns[-1]
        itself = batch.own[:, None] if len(batch.views) == 1 else None
        pos = self._positives(batch, pos)
        if itself is not None:
            pos = pos.scatter(1, itself, False)
        lse = row_lse(query, columns, batch.scale, Columns(drop=itself, mask=batch.mask), chunk=batch.chunk)
        counts = pos.sum(1)
        if self.positives == "out":  # the mean over positives of a similarity is one product with the mean of their keys
            centre = pos.to(columns) @ columns / counts.clamp(min=1)[:, None]
            rows = lse - (query * centre).sum(1) * batch.scale
        else:
            rows = lse - row_lse(query, columns, batch.scale, Columns(mask=pos), chunk=batch.chunk)
        loss = batch.mean(rows, counts > 0)
        return loss, {"contrast": loss, "rows_without_positives": (counts == 0).sum().to(loss)}

    def _positives(self, batch: Batch, pos: Tensor | None) -> Tensor:
        if pos is None:
            if batch.labels is None:
                raise DataError("pos: absent, and so are labels; the form 'multi_positive' needs one of them.")
            pos = batch.labels[:, None] == batch.gathered(batch.labels)[None]
        check_flags(pos, "pos", (batch.size, batch.total))
        if batch.mask is not None and bool((pos & ~batch.mask).any()):
            raise DataError("mask: leaves out a positive. True means keep.")
        return pos


_FORMS: dict[str, Callable[[InfoNCE, Batch], Tensor]] = {
    "ntxent": lambda _, batch: ntxent_rows(batch),
    "oneway": lambda _, batch: oneway_rows(batch),
    "queue": InfoNCE.queued_rows,
    "multi_positive": lambda _, batch: oneway_rows(batch),  # computed apart
}
