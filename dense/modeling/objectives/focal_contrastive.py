"""Focal contrastive loss of image-text pairs (RO-ViT)."""

from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from dense.errors import ConfigError
from dense.modeling.objectives.base import Objective
from dense.modeling.objectives.batch import Batch
from dense.modeling.objectives.clip import caption_columns
from dense.modeling.objectives.similarity import Columns
from dense.modeling.registries import OBJECTIVES

__all__ = ["FocalContrastive"]


@OBJECTIVES.register
class FocalContrastive(Objective):
    """Every pair of an image and a caption is a yes-or-no question; those answered well already count less.

    With x the scaled cosine, p = sigmoid(x) and y = 1 for true pairs: 2·a·m·BCE(x, y), where a is alpha and m is (1 - p)^gamma
    for true pairs, 1 - alpha and p^gamma for others; summed over all pairs and divided by the batch. Both directions are equal.

    Args:
        alpha: weight of true pairs, 0 to 1.
        gamma: exponent, 0 or more.
        duplicates: as in ``CLIP``, "mask" or "ignore"; further input ``captions``.
        temperature: at the start.
        learn_temperature: as ``log_scale``, at most log 100.
        **common: see ``Objective``.

    Source: Kim, Angelova, Kuo 2023 (RO-ViT, §3.2).
    """

    inputs = frozenset({"captions"})

    @configurable
    def __init__(
        self,
        *,
        alpha: float = 0.5,
        gamma: float = 1.0,
        duplicates: str = "ignore",
        temperature: float = 0.07,
        learn_temperature: bool = True,
        **common: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(temperature=temperature, learn_temperature=learn_temperature, **common)
        if not 0 <= alpha <= 1 or not gamma >= 0:
            raise ConfigError(f"alpha {alpha}, gamma {gamma}: expected 0 to 1, and 0 or more.")
        if duplicates not in ("mask", "ignore"):
            raise ConfigError(f"duplicates: {duplicates!r}, expected 'mask' or 'ignore'.")
        self.alpha, self.gamma, self.duplicates = alpha, gamma, duplicates

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """See ``objective_node``."""
        own = {"alpha": cfg.FOCAL_ALPHA, "gamma": cfg.FOCAL_GAMMA, "duplicates": cfg.DUPLICATES}
        return super().from_config(cfg) | own

    def compute(self, batch: Batch, captions: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """See the class."""
        groups = caption_columns(batch, captions) if self.duplicates == "mask" else None
        kept = Columns(mask=batch.mask, groups=groups, always=batch.own)
        image, text = batch.views[0], batch.columns[1]
        own = batch.positives(0, 1) * batch.scale
        true = 2 * self.alpha * torch.sigmoid(-own) ** self.gamma * F.softplus(-own)
        size, rows = batch.chunk or len(text), torch.zeros_like(true)
        for start in range(0, len(text), size):
            given = (image, text[start : start + size], batch.scale, kept, batch.own, start)
            # Blocks are computed again in the backward pass instead of being kept.
            rows = rows + (checkpoint(self._others, *given, use_reentrant=False) if batch.chunk else self._others(*given))
        loss = batch.mean(true + rows)
        return loss, {"true_pairs": batch.mean(true), "other_pairs": batch.mean(rows)}

    def _others(self, image: Tensor, text: Tensor, scale: Tensor, kept: Columns, own: Tensor, start: int) -> Tensor:
        """``(B,)``: sums over a block of columns, the true pairs left out."""
        logits = image @ text.T * scale
        terms = 2 * (1 - self.alpha) * torch.sigmoid(logits) ** self.gamma * F.softplus(logits)
        out = own[:, None] == torch.arange(start, start + len(text), device=own.device)
        removed = kept.removed(start, start + len(text))
        return terms.masked_fill(out if removed is None else out | removed, 0.0).sum(1)
