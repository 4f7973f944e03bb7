"""Figures that say whether pixel-level pretraining is well, and a warning when it is not (spec, section 17)."""

import logging
import math

import torch
from torch import Tensor

from dense.modeling.objectives.diagnostics import CollapseWatch, dimension_std, effective_rank, uniformity
from dense.projects.pixpro.pairs import PairTables

__all__ = ["FeatureWatch", "pair_figures", "spread_figures"]

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

    Returns: ``channel_std``, mean over the channels (healthy: about 1/√C); ``effective_rank``; ``uniformity``, with two
        rows at least; ``feature_rank_limit`` and ``feature_std_limit``, below which features count as collapsed. See
        ``dense.modeling.objectives.diagnostics``.
    """
    rows = rows[:: math.ceil(len(rows) / _ROWS)].float()
    limits = CollapseWatch(*rows.shape)
    figures = {"channel_std": float(dimension_std(rows)), "effective_rank": float(effective_rank(rows))}
    if len(rows) > 1:
        figures["uniformity"] = float(uniformity(rows))
    return {**figures, "feature_rank_limit": limits.least_rank, "feature_std_limit": limits.least_std}


class FeatureWatch:
    """Says once, in one line of the log, that features have become constant.

    Args:
        patience: reports in a row that must say so.
    """

    def __init__(self, patience: int = 100) -> None:
        self.warned = False
        self._watch = CollapseWatch(2, 1, patience)  # its limits come with each report

    def report(self, figures: dict[str, float]) -> bool:
        """Take the next figures of ``spread_figures``; True if the warning was logged now."""
        self._watch.least_rank, self._watch.least_std = figures["feature_rank_limit"], figures["feature_std_limit"]
        message = self._watch.update(figures["effective_rank"], figures["channel_std"])
        if message is None or self.warned:
            return False
        self.warned = True
        logger.warning("%s", message)
        return True
