"""Queues of embeddings that outlive a step: first in, first out, part of the state dict."""

import torch
from torch import Tensor, nn

from dense.errors import ConfigError, DataError

__all__ = ["RowQueue"]


class RowQueue(nn.Module):
    """The last ``length`` rows, in ``groups`` separate queues that move together.

    Args:
        length: rows per queue; 0 = none.
        dim: D.
        groups: number of queues.
    """

    rows: Tensor
    pushed: Tensor

    def __init__(self, length: int, dim: int, groups: int = 1) -> None:
        super().__init__()
        if length < 0 or dim < 1 or groups < 1:
            raise ConfigError(f"queue: length {length}, {dim} dimensions, {groups} groups; expected 0, 1 and 1 at least.")
        self.register_buffer("rows", torch.zeros(groups, length, dim))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.long))

    @property
    def length(self) -> int:
        """Rows per queue when full."""
        return self.rows.shape[1]

    @property
    def full(self) -> bool:
        """Whether every row has been filled."""
        return int(self.pushed) >= self.length

    def filled(self, group: int = 0) -> Tensor:
        """``(n, D)`` rows of one queue that hold something, in no particular order."""
        return self.rows[group, : min(int(self.pushed), self.length)]

    @torch.no_grad()
    def push(self, rows: Tensor) -> None:
        """Put rows in the place of the oldest.

        Args:
            rows: ``(B, D)``, or ``(groups, B, D)``. Of more than ``length`` the last ones stay.

        Raises: DataError for another number of groups or dimensions.
        """
        if not self.length:
            return
        new = rows[None] if rows.ndim == 2 else rows
        if new.ndim != 3 or new.shape[0] != self.rows.shape[0] or new.shape[2] != self.rows.shape[2]:
            expected = f"({self.rows.shape[0]}, B, {self.rows.shape[2]})"
            raise DataError(f"queue: rows {tuple(new.shape)}, expected {expected}. Set DIM to the width of the embeddings.")
        first = int(self.pushed) + max(new.shape[1] - self.length, 0)
        new = new[:, -self.length :]
        places = (torch.arange(new.shape[1], device=self.rows.device) + first) % self.length
        self.rows[:, places] = new.to(self.rows)
        self.pushed.fill_(first + new.shape[1])
