"""Figures that say what embeddings look like: alignment, uniformity, rank, tolerance, how hard the negatives are; collapse.

Alignment and uniformity as in Wang and Isola; the relative penalty of negatives as in "Understanding the behaviour of
contrastive loss". Everything here works without gradient on one process's rows.
"""

import math
from collections.abc import Sequence
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "CollapseWatch",
    "alignment",
    "dimension_std",
    "effective_rank",
    "modality_gap",
    "pair_figures",
    "summary",
    "tolerance",
    "uniformity",
]

_MOST_ROWS = 4096


def alignment(views: Sequence[Tensor]) -> Tensor:
    """Mean squared distance of the unit rows of one sample, in [0, 4]; over pairs of views. ``views``: V × ``(B, D)``."""
    rows = [_unit(view) for view in views]
    pairs = [(a - b).square().sum(1).mean() for a, b in combinations(rows, 2)]
    return torch.stack(pairs).mean()


def uniformity(rows: Tensor, t: float = 2.0, *, seed: int = 0, most: int = _MOST_ROWS) -> Tensor:
    """log mean over pairs of exp(-t · squared distance) of unit rows: 0 = all in one place, lower = spread.

    Args:
        rows: ``(B, D)``, two or more.
        t: sharpness.
        seed: of the draw where there are more than ``most`` rows.
        most: rows looked at.
    """
    unit = _unit(sampled(rows, most, seed))
    first, second = torch.triu_indices(len(unit), len(unit), 1, device=unit.device)
    squared = (2 - 2 * (unit @ unit.T)[first, second]).clamp(min=0)
    return torch.logsumexp(-t * squared, 0) - math.log(max(len(first), 1))


def effective_rank(rows: Tensor, *, center: bool = True) -> Tensor:
    """exp of the entropy of the singular values' shares, 1 to min(B, D); ``center=False`` is RankMe. ``rows``: ``(B, D)``."""
    wide = rows.detach().to(torch.promote_types(rows.dtype, torch.float32))
    values = torch.linalg.svdvals(wide - wide.mean(0) if center else wide)
    total = values.sum()
    if not bool(total > 0):
        return torch.ones_like(total)  # identical rows have no spread at all
    shares = values / total
    return torch.exp(-torch.xlogy(shares, shares).sum())


def dimension_std(rows: Tensor) -> Tensor:
    """Mean over dimensions of the standard deviation of unit rows ``(B, D)``; about 1/√D where the sphere is filled."""
    return _unit(rows).std(0, unbiased=False).mean()


def tolerance(rows: Tensor, labels: Tensor) -> Tensor:
    """Mean similarity of unit rows ``(B, D)`` over pairs of one label ``(B,)``, each row with itself included."""
    unit = _unit(rows)
    same = labels[:, None] == labels[None, :]
    return (unit @ unit.T)[same].mean()


def modality_gap(image: Tensor, text: Tensor) -> Tensor:
    """Distance of the means of two modalities' unit rows, ``(B, D)`` each, in [0, 2]."""
    return torch.linalg.vector_norm(_unit(image).mean(0) - _unit(text).mean(0))


def pair_figures(query: Tensor, key: Tensor, scale: Tensor) -> dict[str, Tensor]:
    """How the rows of one view find themselves in the other.

    Args:
        query: ``(B, D)``, B of 2 or more; row i belongs to row i of ``key``.
        key: ``(B, D)``.
        scale: scalar, 1 / temperature.

    Returns: ``positive_share`` (softmax mass on the positive), ``in_batch_accuracy``, ``positive_cosine``,
        ``hardest_negative`` (mean of each row's highest cosine), ``penalty_entropy`` and ``penalty_max`` of the softmax over
        the negatives alone.
    """
    similarity = _unit(query) @ _unit(key).T
    positive = similarity.diagonal()
    own = torch.eye(len(similarity), dtype=torch.bool, device=similarity.device)
    negatives = similarity.masked_fill(own, -torch.inf)
    penalty = (negatives * scale).softmax(1)
    return {
        "positive_share": (similarity * scale).softmax(1).diagonal().mean(),
        "in_batch_accuracy": (positive > negatives.amax(1)).to(similarity).mean(),
        "positive_cosine": positive.mean(),
        "hardest_negative": negatives.amax(1).mean(),
        "penalty_entropy": -torch.xlogy(penalty, penalty).sum(1).mean(),
        "penalty_max": penalty.amax(1).mean(),
    }


def summary(views: Sequence[Tensor], scale: Tensor, *, labels: Tensor | None = None, seed: int = 0) -> dict[str, Tensor]:
    """All figures of V views ``(B, D)``: those of ``pair_figures`` from the first two, the others over all or the first.

    Args:
        views: at most 4,096 rows of them are looked at.
        scale: scalar, 1 / temperature.
        labels: ``(B,)``; adds ``tolerance``.
        seed: of the draw, the step.
    """
    rows = [sampled(view.detach(), _MOST_ROWS, seed) for view in views]
    figures = {
        "uniformity": torch.stack([uniformity(view, seed=seed) for view in rows]).mean(),
        "effective_rank": effective_rank(_unit(rows[0])),
        "dimension_std": dimension_std(rows[0]),
    }
    if len(rows) > 1:
        figures["alignment"] = alignment(rows)
        figures |= pair_figures(rows[0], rows[1], scale.detach())
    if labels is not None:
        figures["tolerance"] = tolerance(rows[0], sampled(labels, _MOST_ROWS, seed))
    return figures


def sampled(rows: Tensor, most: int, seed: int) -> Tensor:
    """At most ``most`` rows, the same ones for the same ``seed`` and number of rows."""
    if len(rows) <= most:
        return rows
    generator = torch.Generator().manual_seed(seed)
    return rows[torch.randperm(len(rows), generator=generator)[:most].to(rows.device)]


class CollapseWatch:
    """Warns once when embeddings have collapsed for many reports in a row.

    Collapsed: effective rank below max(2, 0.05 · min(B - 1, D)), or mean standard deviation per dimension below 0.1 / √D.

    Args:
        rows: B, the rows that the figures are computed from.
        dimensions: D.
        patience: reports in a row.
    """

    def __init__(self, rows: int, dimensions: int, patience: int = 100) -> None:
        self.least_rank = max(2.0, 0.05 * min(rows - 1, dimensions))
        self.least_std = 0.1 / math.sqrt(dimensions)
        self.patience, self.count = patience, 0

    def update(self, rank: float, std: float) -> str | None:
        """Take one report.

        Args:
            rank: ``effective_rank`` of unit rows.
            std: ``dimension_std``.

        Returns: the warning, one line, at the report that completes the patience; else ``None``. A healthy report starts anew.
        """
        healthy = rank >= self.least_rank and std >= self.least_std  # NaN is not healthy
        self.count = 0 if healthy else self.count + 1
        if self.count != self.patience:
            return None
        return (
            f"embeddings have collapsed for {self.patience} reports: effective rank {rank:.1f} (least {self.least_rank:.1f}),"
            f" standard deviation per dimension {std:.2g} (least {self.least_std:.2g}). Likely causes: temperature or learning"
            " rate too high, a predictor, propagation module or momentum encoder that is missing or not updated."
        )


def _unit(rows: Tensor) -> Tensor:
    return F.normalize(rows.detach().to(torch.promote_types(rows.dtype, torch.float32)), dim=1, eps=1e-12)
