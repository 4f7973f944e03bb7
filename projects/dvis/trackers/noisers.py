"""Noise simulation: in training a tracker gets spoilt embeddings in place of matched ones (DVIS++).

A matched query is nearly right already; a tracker trained on it learns to copy. Noise makes it look the object up.
"""

from typing import Any, Protocol

import torch
from detectron2.config import CfgNode, configurable
from torch import Tensor

from dense.errors import ConfigError
from dense.projects.dvis.registries import NOISERS

__all__ = ["CropConcatenate", "NoNoise", "NoiseDraws", "Noiser", "RandomShuffle", "TorchDraws", "WeightedAverage"]


class NoiseDraws(Protocol):
    """Where noisers get their random numbers; a part, so that tests can replay stored ones."""

    def coin(self) -> float:
        """Uniform in [0, 1): is there noise in this frame?"""

    def permutation(self, count: int) -> Tensor:
        """``(count,)`` int64."""

    def weights(self, count: int) -> Tensor:
        """``(count,)`` uniform in [0, 1)."""

    def cuts(self, count: int, width: int) -> Tensor:
        """``(count,)`` int64, uniform from 0 to ``width`` - 1."""


class TorchDraws:
    """Draws from torch's default generator on the CPU: the trainer seeds it at each step, so a continued run draws the same."""

    def coin(self) -> float:
        """See ``NoiseDraws``."""
        return float(torch.rand(()))

    def permutation(self, count: int) -> Tensor:
        """See ``NoiseDraws``."""
        return torch.randperm(count)

    def weights(self, count: int) -> Tensor:
        """See ``NoiseDraws``."""
        return torch.rand(count)

    def cuts(self, count: int, width: int) -> Tensor:
        """See ``NoiseDraws``."""
        return torch.randint(width, (count,))


class Noiser:
    """Base of the noisers: matched embeddings, or with probability ``ratio`` per frame spoilt ones.

    Args:
        ratio: share of frames with noise, in [0, 1].
        draws: source of random numbers.
    """

    @configurable
    def __init__(self, *, ratio: float, draws: NoiseDraws | None = None) -> None:
        if not 0 <= ratio <= 1:
            raise ConfigError(f"MODEL.TRACKER.NOISE_RATIO: {ratio}, expected a number from 0 to 1.")
        self.ratio = ratio
        self.draws: NoiseDraws = TorchDraws() if draws is None else draws

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Read MODEL.TRACKER.NOISE_RATIO."""
        return {"ratio": cfg.MODEL.TRACKER.NOISE_RATIO}

    def __call__(self, match: Tensor, embeddings: Tensor, *, active: bool) -> tuple[Tensor, Tensor]:
        """Choose what the tracker starts from in one frame.

        Args:
            match: for each object the query of this frame that continues it, ``(Q,)`` int64.
            embeddings: this frame's queries in the segmenter's order, ``(Q, C)``.
            active: may there be noise (training)? Without it nothing is drawn.

        Returns: for each object the query that contributes most, ``(Q,)`` int64, and the embeddings ``(Q, C)``.
        """
        if active and self.draws.coin() < self.ratio:
            return self.spoil(match, embeddings)
        return match, embeddings[match]

    def spoil(self, match: Tensor, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """The noise itself; shapes as in ``__call__``."""
        raise NotImplementedError


@NOISERS.register
class NoNoise(Noiser):
    """Matched embeddings always."""

    def spoil(self, match: Tensor, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Noiser``."""
        return match, embeddings[match]


@NOISERS.register
class RandomShuffle(Noiser):
    """Each object gets any query."""

    def spoil(self, match: Tensor, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Noiser``."""
        other = self.draws.permutation(len(embeddings)).to(match.device)
        return other, embeddings[other]


@NOISERS.register
class WeightedAverage(Noiser):
    """Each query is mixed with a random other one; the matching is ignored (the mode of the released models)."""

    def spoil(self, match: Tensor, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Noiser``."""
        count = len(embeddings)
        other = self.draws.permutation(count).to(match.device)
        weight = self.draws.weights(count).to(embeddings)
        own = torch.arange(count, device=match.device)
        mixed = weight[:, None] * embeddings + (1 - weight[:, None]) * embeddings[other]
        return torch.where(weight >= 0.5, own, other), mixed


@NOISERS.register
class CropConcatenate(Noiser):
    """Each query keeps its first channels, up to a random cut, and takes the rest from a random other one."""

    def spoil(self, match: Tensor, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Noiser``."""
        count, width = embeddings.shape
        cut = self.draws.cuts(count, width).to(match.device)
        other = self.draws.permutation(count).to(match.device)
        own = torch.arange(count, device=match.device)
        kept = torch.arange(width, device=match.device) < cut[:, None]  # (Q, C)
        return torch.where(cut >= width // 2, own, other), torch.where(kept, embeddings, embeddings[other])
