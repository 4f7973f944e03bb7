"""The contrastive loss: an anchor is to be nearer to its positives than to its negatives (CTVIS; DVIS++)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["ContrastItem", "ItemLosses", "contrastive_losses", "item_losses", "other_rows"]

_NOTHING = -1e30  # logit of a row that takes no part; finite, so that an item without negatives has gradient 0, not NaN


@dataclass(frozen=True)
class ContrastItem:
    """One comparison of rows of a bank of embeddings.

    Rows, not embeddings: hundreds of items share a few thousand embeddings, and one matrix product compares them all.

    Attributes:
        anchor: row of what is compared.
        positives: rows it should be like, ``(P,)`` int64 on the CPU, at least one.
        negatives: rows it should not be like, ``(N,)`` int64 on the CPU.
    """

    anchor: int
    positives: Tensor
    negatives: Tensor


@dataclass(frozen=True)
class ItemLosses:
    """Losses of n items.

    Attributes:
        contrast: log(1 + sum over pairs of exp(negative - positive)) on raw dot products, without temperature; ``(n,)``.
        cosine: mean squared distance of the cosines to 1 (positives) and 0 (negatives); ``(n,)``.
    """

    contrast: Tensor
    cosine: Tensor

    def means(self) -> dict[str, Tensor]:
        """``loss_reid`` and ``loss_aux_reid`` over the items of this process; without items zero, but part of the graph."""
        count = max(len(self.contrast), 1)
        return {"loss_reid": self.contrast.sum() / count, "loss_aux_reid": self.cosine.sum() / count}


def contrastive_losses(items: Sequence[ContrastItem], bank: Tensor) -> dict[str, Tensor]:
    """Mean over the items of this process (see ``ItemLosses.means``).

    Args:
        items: any number.
        bank: embeddings that their rows point at, ``(E, C)``.
    """
    return item_losses(items, bank).means()


def item_losses(items: Sequence[ContrastItem], bank: Tensor) -> ItemLosses:
    """Losses of each item in float32; nothing is detached. A row may be positive and negative at once."""
    positive, negative = torch.zeros(2, len(items), len(bank), dtype=torch.bool)
    for i, item in enumerate(items):
        positive[i, item.positives] = True
        negative[i, item.negatives] = True
    positive, negative = positive.to(bank.device), negative.to(bank.device)
    anchors = torch.tensor([item.anchor for item in items], dtype=torch.int64, device=bank.device)
    with torch.autocast(bank.device.type, enabled=False):
        rows = bank.float()
        product = rows[anchors] @ rows.mT  # (n, E)
    norm = rows.norm(dim=-1).clamp(min=1e-8)
    cosine = product / (norm[anchors, None] * norm)
    attract = (-product).masked_fill(~positive, _NOTHING).logsumexp(1)
    repel = product.masked_fill(~negative, _NOTHING).logsumexp(1)
    distance = positive * (cosine - 1).square() + negative * cosine.square()
    count = positive.sum(1) + negative.sum(1)
    return ItemLosses(F.softplus(attract + repel), distance.sum(1) / count)  # the sum over pairs is a product of two sums


def other_rows(frame: int, queries: int, index: int) -> Tensor:
    """Rows ``(Q-1,)`` of a frame's queries but one, where query q of frame t has row ``t·Q + q``."""
    rows = torch.arange(frame * queries, (frame + 1) * queries)
    return rows[rows != frame * queries + index]
