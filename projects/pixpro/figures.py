"""Figures that say whether pixel-level pretraining is well, and a warning when it is not (spec, section 17)."""

import logging
import math

import torch
from torch import Tensor

from dense.projects.pixpro.pairs import PairTables

__all__ = ["CollapseWatch", "pair_figures", "spread_figures"]

logger = logging.getLogger(__name__)

_ROWS = 2048  # features that spread is measured over


@torch.no_grad()
def pair_figures(query: Tensor, key: Tensor, pairs: PairTables, block: int) -> dict[str, float]:
    """How similar positions are that show the same place, and others.

    Args:
        query: unit features ``(N, P, C)``.
        key: unit features ``(N, P', C)``.
        pairs: of the two.
        block: query positions handled together.

    Returns: ``positives_share`` of image pairs with at least one positive pair; ``positives_per_pair``, mean count over the
        image pairs; mean cosines ``positive_cosine``, ``same_image_cosine`` (of the other positions), ``other_image_cosine``;
        ``alignment``, the mean squared distance of positives. What there is nothing of (a batch of one has no other images) is
        left out.
    """
    images, (p, q) = len(query), pairs.positions
    counts, sums = torch.zeros(2, images, dtype=query.dtype, device=query.device)
    for rows, mask in pairs.blocks(block):
        positive = mask.to(key.dtype)
        counts += positive.sum((1, 2))
        sums += (query[:, rows] * (positive @ key)).sum((1, 2))
    totals = query.sum(1) @ key.sum(1).T  # sums of all cosines of each image with each, (N, N)
    same = totals.diagonal()
    found, rest = counts > 0, p * q - counts
    figures = {"positives_share": float(found.float().mean()), "positives_per_pair": float(counts.mean())}
    if found.any():
        cosine = float((sums / counts)[found].mean())
        figures |= {"positive_cosine": cosine, "alignment": 2 - 2 * cosine}
    if (rest > 0).any():
        figures["same_image_cosine"] = float(((same - sums) / rest)[rest > 0].mean())
    if images > 1:
        figures["other_image_cosine"] = float((totals.sum() - same.sum()) / (images * (images - 1) * p * q))
    return figures


@torch.no_grad()
def spread_figures(rows: Tensor) -> dict[str, float]:
    """How much of the space unit features fill.

    Args:
        rows: ``(R, C)``; of more than 2,048, evenly spaced ones are taken.

    Returns: ``channel_std``, mean over the channels (healthy: about 1/√C); ``effective_rank``, exp of the entropy of the
        singular values of the centred features; ``uniformity``, log of the mean of exp(−2·d²) over pairs, with at least two
        rows; ``feature_rank_limit`` and ``feature_std_limit``, below which features count as collapsed.
    """
    rows = rows[:: math.ceil(len(rows) / _ROWS)].float()
    count, channels = rows.shape
    values = torch.linalg.svdvals(rows - rows.mean(0))
    share = values / values.sum().clamp(min=1e-12)
    figures = {
        "channel_std": float(rows.std(0, correction=0).mean()),
        "effective_rank": float(torch.special.entr(share).sum().exp()),
    }
    if count > 1:
        exponents = (4 * (rows @ rows.T) - 4).fill_diagonal_(-torch.inf)  # −2·d² with d² = 2 − 2 cos
        figures["uniformity"] = float(exponents.flatten().logsumexp(0)) - math.log(count * (count - 1))
    figures["feature_rank_limit"] = max(2.0, 0.05 * min(count - 1, channels))
    figures["feature_std_limit"] = 0.1 / math.sqrt(channels)
    return figures


class CollapseWatch:
    """Says once, in one line, that features have become constant.

    Args:
        patience: reports in a row that must say so.
    """

    def __init__(self, patience: int = 100) -> None:
        self.patience, self.bad, self.warned = patience, 0, False

    def report(self, figures: dict[str, float]) -> bool:
        """Take the next figures of ``spread_figures``; True if the warning was logged now."""
        rank, std = figures["effective_rank"], figures["channel_std"]
        collapsed = rank < figures["feature_rank_limit"] or std < figures["feature_std_limit"]
        self.bad = self.bad + 1 if collapsed else 0
        if self.bad < self.patience or self.warned:
            return False
        self.warned = True
        logger.warning(
            "features have collapsed: effective rank %.1f (limit %.1f), standard deviation %.4f (limit %.4f) in %d reports in a"
            " row. Likely causes: no propagation or predictor, learning rate too high, momentum too low at the start,"
            " temperature.",
            rank,
            figures["feature_rank_limit"],
            std,
            figures["feature_std_limit"],
            self.patience,
        )
        return True
