"""Repeat-factor sampling (Gupta et al., "LVIS", CVPR 2019, §4): images of rare categories are seen more often.

Image I has the factor r(I) = max over its categories c of max(1, sqrt(t / f(c))), where f(c) is the share of the images that
have c. In each epoch it is seen r(I) times on average.
"""

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dense.data.loaders.samplers import ResumableSampler, SampleKey
from dense.data.loaders.seeding import Stream, generator

__all__ = ["RepeatingSampler", "repeat_factors"]


def repeat_factors(categories: Sequence[Collection[int]], threshold: float, sqrt: bool = True) -> NDArray[np.float64]:
    """Factors ``(N,)`` of N images, each at least 1.

    Args:
        categories: those of each image.
        threshold: share of the images below which a category is rare; 0.001 in LVIS.
        sqrt: take the root, as LVIS does; without it t / f(c).
    """
    counts = Counter(category for found in categories for category in set(found))
    rare = {category: max(1.0, threshold * len(categories) / count) for category, count in counts.items()}
    factors = np.array([max((rare[category] for category in found), default=1.0) for found in categories], np.float64)
    return np.sqrt(factors) if sqrt else factors


@dataclass(frozen=True)
class RepeatingSampler(ResumableSampler):
    """As ``ResumableSampler``, some samples more often than others; build it with ``of_factors``.

    An epoch has the sum of all factors, rounded up, as its ``length``, so that any step can be found. Which samples get a turn
    more than the whole part of their factor is drawn anew in each epoch (systematic sampling in random order); each gets one at
    least. Keys of further turns have other epochs, all different: the same image is augmented in another way.

    Args:
        factors: ``(N,)`` turns of each sample in an epoch on average, at least 1.
    """

    factors: NDArray[np.float64] = field(default_factory=lambda: np.ones(1), compare=False, repr=False)
    _epochs: dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of_factors(
        cls, factors: NDArray[np.float64], batch_size: int, seed: int, rank: int = 0, world_size: int = 1, source: int = 0
    ) -> "RepeatingSampler":
        """A sampler of ``len(factors)`` samples; errors as ``ResumableSampler``."""
        length = math.ceil(float(np.sum(factors)) - 1e-9)
        return cls(length, batch_size, seed, rank, world_size, source, factors=np.asarray(factors, np.float64))

    def _key(self, position: int) -> SampleKey:
        epoch, offset = divmod(position, self.length)
        if epoch not in self._epochs:
            while len(self._epochs) > 1:  # a batch may reach into the next epoch
                self._epochs.pop(next(iter(self._epochs)))
            self._epochs[epoch] = self._turns(epoch)
        samples, turns = self._epochs[epoch]
        most = int(np.ceil(self.factors.max())) + 1
        return self.source, epoch * most + int(turns[offset]), int(samples[offset])

    def _turns(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Sample and number of its turn at each place of the epoch, ``(length,)`` each."""
        rng = generator(Stream.ORDER, self.seed, epoch)
        order = rng.permutation(len(self.factors))
        ends = np.cumsum(self.factors[order])
        points = (rng.random() + np.arange(self.length)) * (ends[-1] / self.length)
        hit = np.minimum(np.searchsorted(ends, points, side="right"), len(order) - 1)  # rising
        turns = np.arange(self.length) - np.searchsorted(hit, hit, side="left")
        shuffled = rng.permutation(self.length)
        return order[hit][shuffled].astype(np.int64), turns[shuffled].astype(np.int64)
