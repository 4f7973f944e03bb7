"""Random generators of the loaders: each is a function of plain numbers, so nothing has to be saved to resume."""

from enum import IntEnum

import numpy as np

__all__ = ["Stream", "generator"]


class Stream(IntEnum):
    """What the numbers are for; keeps the streams of equal keys apart."""

    ORDER = 1
    SAMPLE = 2
    MIXTURE = 3


def generator(stream: Stream, seed: int, *key: int) -> np.random.Generator:
    """Generator of one epoch's order (key: epoch), one sample (epoch, index) or one block of mixture draws (block).

    The key's length is part of the seed: NumPy pads with zeros, so that (seed, 3) and (seed, 3, 0) would otherwise agree.
    """
    return np.random.default_rng([int(stream), len(key), seed, *key])
