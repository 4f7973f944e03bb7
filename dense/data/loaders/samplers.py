"""Which samples make which batch: a function of (seed, step, rank, number of ranks), so any step can be the first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from dense.data.loaders.seeding import Stream, generator
from dense.errors import ConfigError, DataError

__all__ = ["CombinedSampler", "ResumableSampler", "SampleKey", "shard"]

SampleKey = tuple[int, int, int]
"""(data set, epoch, index): the address of a training sample, and with the seed all that its randomness depends on."""

_BLOCK = 1024


@dataclass(frozen=True)
class ResumableSampler:
    """Endless shuffled batches of one data set, one permutation per epoch.

    Args:
        length: samples of the data set.
        batch_size: samples per batch over all ranks.
        seed: of the permutations.
        rank, world_size: each rank gets a contiguous part of every batch.
        source: number of the data set, put into the keys.
        drop_last: leave out the last samples of an epoch that do not fill a batch.

    Raises: ConfigError if the ranks cannot share the batch; DataError for an empty data set, or with ``drop_last`` one of less
        than a batch.
    """

    length: int
    batch_size: int
    seed: int
    rank: int = 0
    world_size: int = 1
    source: int = 0
    drop_last: bool = False

    def __post_init__(self) -> None:
        if self.length < 1:
            raise DataError("training loader: the data set has no usable sample. Check the annotations and the filter.")
        if self.batch_size < 1 or self.batch_size % self.world_size:
            raise ConfigError(
                f"SOLVER.IMS_PER_BATCH: {self.batch_size} cannot be shared by {self.world_size} ranks. Choose a multiple."
            )
        if self.drop_last and self.length < self.batch_size:
            raise DataError(
                f"training loader: the data set has {self.length} samples, less than one batch of {self.batch_size}. Lower"
                " SOLVER.IMS_PER_BATCH."
            )
        if not 0 <= self.rank < self.world_size:
            raise ConfigError(
                f"training loader: rank {self.rank} of {self.world_size} ranks, expected 0 to {self.world_size - 1}."
            )

    def batch(self, step: int) -> list[SampleKey]:
        """Keys of this rank's part of batch ``step``; unless ``drop_last``, a batch may reach into the next epoch."""
        share = self.batch_size // self.world_size
        first = step * self.batch_size + self.rank * share
        return [self._key(position) for position in range(first, first + share)]

    def _key(self, position: int) -> SampleKey:
        used = self.length // self.batch_size * self.batch_size if self.drop_last else self.length
        epoch, offset = divmod(position, used)
        return self.source, epoch, int(_permutation(self.length, self.seed, epoch)[offset])


@lru_cache(maxsize=16)
def _permutation(length: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return generator(Stream.ORDER, seed, epoch).permutation(length)


class CombinedSampler(Sampler[list[SampleKey]]):
    """Batches of several data sets: each batch comes from one of them, drawn with probability proportional to its ratio.

    One sampler over all data sets (rather than one loader each) lets a single set of workers serve them. The draws are made
    in blocks, each from (seed, block), so that a start at step k counts the earlier draws without replaying the batches.

    Args:
        samplers: one for each data set.
        ratios: their weights, positive.
        seed: of the draws; all ranks must use the same.
        start_step: first batch to give out.
    """

    def __init__(self, samplers: Sequence[ResumableSampler], ratios: Sequence[float], seed: int, start_step: int = 0) -> None:
        if len(ratios) != len(samplers) or min(ratios) <= 0:
            raise ConfigError(f"DATASETS.DATASET_RATIO: {list(ratios)}, expected {len(samplers)} positive weights.")
        if start_step < 0:
            raise ConfigError(f"training loader: start at step {start_step}, expected 0 or later.")
        self.samplers = list(samplers)
        self.probabilities = np.asarray(ratios, dtype=np.float64) / sum(ratios)
        self.seed = seed
        self.start_step = start_step

    def __iter__(self) -> Iterator[list[SampleKey]]:
        used = np.zeros(len(self.samplers), dtype=np.int64)  # batches each data set has given so far
        for block in range(self.start_step // _BLOCK):
            used += np.bincount(self._sources(block), minlength=len(used))
        step = self.start_step // _BLOCK * _BLOCK
        while True:
            for source in self._sources(step // _BLOCK):
                if step >= self.start_step:
                    yield self.samplers[source].batch(int(used[source]))
                used[source] += 1
                step += 1

    def _sources(self, block: int) -> NDArray[np.int64]:
        """Data set of each of the block's batches."""
        if len(self.samplers) == 1:
            return np.zeros(_BLOCK, dtype=np.int64)
        return generator(Stream.MIXTURE, self.seed, block).choice(len(self.samplers), size=_BLOCK, p=self.probabilities)


def shard(length: int, rank: int, world_size: int) -> range:
    """Contiguous part of ``range(length)`` for one rank; parts differ by at most one, earlier ranks get the longer ones."""
    if not 0 <= rank < world_size:
        raise ConfigError(f"test loader: rank {rank} of {world_size} ranks, expected 0 to {world_size - 1}.")
    size, rest = divmod(length, world_size)
    first = rank * size + min(rank, rest)
    return range(first, first + size + (rank < rest))
