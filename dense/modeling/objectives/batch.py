"""The rows of one call of an objective, own and gathered, ready to be summed over."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from dense.modeling.objectives.gathering import gather_rows, global_mean, world_size
from dense.modeling.objectives.similarity import Columns

__all__ = ["Batch"]


@dataclass
class Batch:
    """Views of B samples in this process, N in all processes.

    Attributes:
        views: V matrices ``(B, D)`` of unit rows.
        weights: ``(B,)`` sample weights.
        scale: scalar, 1 / temperature.
        chunk: columns per block of a similarity matrix; 0 = dense.
        counts: B of every process whose rows are columns (this one alone without gathering).
        first: number of this process's first sample among all columns.
        mask: ``(B, N)`` bool, True = keep, or ``None``.
        visible: ``(V, B)`` bool, or ``None`` = all.
        labels: ``(B,)`` integers, or ``None``.
    """

    views: list[Tensor]
    weights: Tensor
    scale: Tensor
    chunk: int
    counts: list[int]
    first: int
    mask: Tensor | None = None
    visible: Tensor | None = None
    labels: Tensor | None = None

    @property
    def size(self) -> int:
        """B."""
        return len(self.views[0])

    @property
    def total(self) -> int:
        """N."""
        return sum(self.counts)

    @cached_property
    def columns(self) -> list[Tensor]:
        """V matrices ``(N, D)``: the views of all processes, with gradient; one exchange for all views."""
        width = self.views[0].shape[1]
        return list(self.gathered(torch.cat(self.views, dim=1)).split(width, dim=1))

    @cached_property
    def visible_columns(self) -> Tensor | None:
        """``(V, N)`` bool."""
        return None if self.visible is None else self.gathered(self.visible.T.to(torch.uint8)).T.bool()

    @cached_property
    def own(self) -> Tensor:
        """``(B,)`` column of each sample."""
        return torch.arange(self.size, device=self.views[0].device) + self.first

    def gathered(self, rows: Tensor) -> Tensor:
        """``(B, …)`` of this process → ``(N, …)`` of those whose rows are columns."""
        return gather_rows(rows, self.counts) if len(self.counts) == world_size() else rows

    def without_own(self, *, views: int = 1) -> Columns:
        """Columns of ``views`` stacked views ``(views · N)`` for as many stacked views of rows, without the own sample."""
        drop = torch.stack([self.own + v * self.total for v in range(views)], dim=1).repeat(views, 1)
        return Columns(drop=drop, mask=self.mask)

    def positives(self, a: int, b: int) -> Tensor:
        """``(B,)`` similarity of view ``a`` and view ``b`` of each sample."""
        return (self.views[a] * self.views[b]).sum(1)

    def mean(self, rows: Tensor, counted: Tensor | None = None) -> Tensor:
        """Weighted mean over the samples of all processes (this one's part, see ``gathering``).

        Args:
            rows: ``(B,)``, or ``(k · B,)`` for k losses per sample, stacked.
            counted: bool of the same shape; the others are left out.
        """
        weights = self.weights.repeat(len(rows) // self.size)
        return global_mean(rows, weights if counted is None else weights * counted)
