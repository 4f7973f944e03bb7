"""Training samples of images and videos that a mapper addresses by index, as PyTorch sees them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from dense.data.loaders.seeding import Stream, generator

__all__ = ["IndexedTrainDataset"]


@dataclass(frozen=True)
class IndexedTrainDataset(Dataset[dict[str, Any]]):
    """Sample (epoch, index) draws from its own generator (seed, epoch, index).

    Args:
        mapper: index and generator -> dictionary for the model.
        length: number of images or videos.
        seed: of all samples.
    """

    mapper: Callable[[int, np.random.Generator], dict[str, Any]]
    length: int
    seed: int = 0

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        epoch, index = key
        return self.mapper(index, generator(Stream.SAMPLE, self.seed, epoch, index))
