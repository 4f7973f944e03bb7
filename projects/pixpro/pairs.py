"""Which positions of two feature maps show the same place of the source image (spec of PixPro, section 6).

The mask of a pair of maps is never stored: the squared distance of two bin centres is a sum of a term of the columns and a term
of the rows, so two small tables per image say it all, and a block of rows of the mask is made where it is needed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["PairTables", "bin_centres", "pair_tables"]


def bin_centres(coords: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Centres of the bins of a map in the source image.

    Args:
        coords: ``(N, 4)`` recorded vectors (x1, y1, x2, y2), the image spans [0, 1] in each axis; x1 > x2 = flipped.
        size: (H, W) of the map.

    Returns: x of the columns ``(N, W)`` and y of the rows ``(N, H)``.
    """
    height, width = size
    x1, y1, x2, y2 = coords.unbind(1)
    columns = (torch.arange(width, device=coords.device, dtype=coords.dtype) + 0.5) / width
    rows = (torch.arange(height, device=coords.device, dtype=coords.dtype) + 0.5) / height
    x = x1[:, None] + columns * (x2 - x1)[:, None]  # signed widths: a flip needs no case of its own
    y = y1[:, None] + rows * (y2 - y1)[:, None]
    return x, y


@dataclass(frozen=True)
class PairTables:
    """Distances of the positions of N query maps from those of N key maps, in two tables.

    Attributes:
        columns: squared distances of the columns, ``(N, W of the query, W of the key)``.
        rows: squared distances of the rows, ``(N, H of the query, H of the key)``.
        limit: squared distance below which two positions are a positive pair, ``(N,)``.
    """

    columns: Tensor
    rows: Tensor
    limit: Tensor

    @property
    def positions(self) -> tuple[int, int]:
        """Number of positions of a query map and of a key map."""
        return self.rows.shape[1] * self.columns.shape[1], self.rows.shape[2] * self.columns.shape[2]

    def transposed(self) -> "PairTables":
        """The same with query and key exchanged."""
        return PairTables(self.columns.mT, self.rows.mT, self.limit)

    def mask(self, first: int, last: int) -> Tensor:
        """Positive pairs of the query rows ``first`` to ``last`` (excluded): ``(N, (last − first)·W, P of the key)`` bool."""
        squared = self.rows[:, first:last, None, :, None] + self.columns[:, None, :, None, :]
        return (squared < self.limit[:, None, None, None, None]).flatten(3, 4).flatten(1, 2)

    def blocks(self, size: int) -> Iterator[tuple[slice, Tensor]]:
        """Walk over the mask in blocks of whole map rows with about ``size`` query positions.

        Yields: the query positions of the block as a slice, and their rows of the mask.
        """
        _, height, _ = self.rows.shape
        width = self.columns.shape[1]
        step = max(1, size // width)
        for first in range(0, height, step):
            last = min(first + step, height)
            yield slice(first * width, last * width), self.mask(first, last)

    def counts(self, size: int) -> Tensor:
        """Positive pairs of each image, ``(N,)`` integers; ``size`` as in ``blocks``."""
        total = torch.zeros(len(self.limit), dtype=torch.long, device=self.limit.device)
        for _, mask in self.blocks(size):
            total += mask.sum((1, 2))
        return total


@torch.no_grad()
def pair_tables(
    query: Tensor, key: Tensor, query_size: tuple[int, int], key_size: tuple[int, int], threshold: float
) -> PairTables:
    """Tables of the positive pairs of two views; float32 at least, whatever the precision around.

    Two positions are positive if their centres are closer than ``threshold`` times the larger of the two bin diagonals.

    Args:
        query: recorded vectors of the query views, ``(N, 4)``.
        key: of the key views, ``(N, 4)``.
        query_size: (H, W) of the query maps.
        key_size: (H, W) of the key maps.
        threshold: T, in bin diagonals; the comparison is strict.
    """
    query, key = (c if c.dtype == torch.float64 else c.float() for c in (query, key))
    (query_x, query_y), (key_x, key_y) = bin_centres(query, query_size), bin_centres(key, key_size)
    diagonal = torch.maximum(_squared_diagonal(query, query_size), _squared_diagonal(key, key_size))
    return PairTables(
        (query_x[:, :, None] - key_x[:, None, :]).square(),
        (query_y[:, :, None] - key_y[:, None, :]).square(),
        threshold**2 * diagonal,  # no division: a view without extent has no pairs instead of NaN
    )


def _squared_diagonal(coords: Tensor, size: tuple[int, int]) -> Tensor:
    x1, y1, x2, y2 = coords.unbind(1)
    return ((x2 - x1) / size[1]).square() + ((y2 - y1) / size[0]).square()
