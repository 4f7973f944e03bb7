"""CLIP and ALIGN: every image finds its caption among all captions, and back."""

from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from torch import Tensor

from dense.errors import ConfigError, DataError
from dense.modeling.objectives.base import Objective
from dense.modeling.objectives.batch import Batch
from dense.modeling.objectives.diagnostics import modality_gap
from dense.modeling.objectives.similarity import Columns, row_lse
from dense.modeling.registries import OBJECTIVES

__all__ = ["ALIGN", "CLIP", "caption_columns"]


@OBJECTIVES.register
class CLIP(Objective):
    """Mean of the two one-way losses of a dual encoder; views are the image embeddings and the text embeddings.

    Equal captions in a batch (further input ``captions``, ``(B,)`` integer ids) are: "mask" = left out as negatives,
    "positive" = positives that share the target, "ignore" = negatives like others.

    Args:
        label_smoothing: e; the target is (1 - e) on the positives plus e / N on each of the N columns that are not masked.
        duplicates: one of the above.
        temperature: at the start.
        learn_temperature: as ``log_scale``, at most log 100.
        **common: see ``Objective``.

    Source: Radford et al. 2021; label smoothing as in ALIGN (Jia et al. 2021).
    """

    inputs = frozenset({"captions"})

    @configurable
    def __init__(
        self,
        *,
        label_smoothing: float = 0.0,
        duplicates: str = "mask",
        temperature: float = 0.07,
        learn_temperature: bool = True,
        **common: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(temperature=temperature, learn_temperature=learn_temperature, **common)
        if not 0 <= label_smoothing < 1:
            raise ConfigError(f"label_smoothing: {label_smoothing}, expected 0 to below 1.")
        if duplicates not in ("mask", "positive", "ignore"):
            raise ConfigError(f"duplicates: {duplicates!r}, expected 'mask', 'positive' or 'ignore'.")
        self.label_smoothing, self.duplicates = label_smoothing, duplicates

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """See ``objective_node``."""
        return super().from_config(cfg) | {"label_smoothing": cfg.LABEL_SMOOTHING, "duplicates": cfg.DUPLICATES}

    def compute(self, batch: Batch, captions: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """See the class."""
        to_text, to_image = self.both_directions(batch, captions, self.label_smoothing)
        return (to_text + to_image) / 2, {"image_to_text": to_text, "text_to_image": to_image}

    def both_directions(
        self, batch: Batch, captions: Tensor | None, smoothing: float, further: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mean losses of images and of texts; ``further`` ``(B,)``: logarithm of what other columns add to the images' sums."""
        groups = None if self.duplicates == "ignore" else caption_columns(batch, captions)
        to_text = batch.mean(self._rows(batch, 0, groups, smoothing, further))
        return to_text, batch.mean(self._rows(batch, 1, groups, smoothing))

    def diagnose(self, batch: Batch) -> dict[str, Tensor]:
        """The shared figures and ``modality_gap``."""
        return super().diagnose(batch) | {"modality_gap": modality_gap(batch.views[0], batch.views[1])}

    def _rows(
        self,
        batch: Batch,
        view: int,
        groups: tuple[Tensor, Tensor] | None,
        smoothing: float,
        further: Tensor | None = None,
    ) -> Tensor:
        """``(B,)`` losses."""
        query, columns = batch.views[view], batch.columns[1 - view]
        masked = groups if self.duplicates == "mask" else None
        kept = Columns(mask=batch.mask, groups=masked, always=batch.own)
        lse = row_lse(query, columns, batch.scale, kept, chunk=batch.chunk)
        if further is not None:
            lse = torch.logaddexp(lse, further)
        positive = batch.positives(0, 1)
        if groups is not None and self.duplicates == "positive":
            positive = (query * _group_means(columns, groups)).sum(1)
        target = (1 - smoothing) * positive
        if smoothing:
            target = target + smoothing * (query * _column_mean(columns, kept)).sum(1)
        return lse - target * batch.scale


@OBJECTIVES.register
class ALIGN(CLIP):
    """CLIP's loss with ALIGN's settings: the temperature is learnt from 1, targets are smoothed by 0.1."""

    @configurable
    def __init__(self, *, label_smoothing: float = 0.1, temperature: float = 1.0, **common: Any) -> None:  # noqa: ANN401
        super().__init__(label_smoothing=label_smoothing, temperature=temperature, **common)


def caption_columns(batch: Batch, captions: Tensor | None) -> tuple[Tensor, Tensor] | None:
    """Ids of the captions of this process ``(B,)`` and of all ``(N,)``. Raises: DataError for another shape."""
    if captions is None:
        return None
    if captions.shape != (batch.size,):
        raise DataError(f"captions: shape {tuple(captions.shape)}, expected ({batch.size},), one id per pair.")
    return captions, batch.gathered(captions)


def _group_means(columns: Tensor, groups: tuple[Tensor, Tensor]) -> Tensor:
    """``(B, D)``: mean of the columns that share each row's id."""
    rows, ids = groups
    known, place = torch.unique(ids, return_inverse=True)
    sums = columns.new_zeros(len(known), columns.shape[1]).index_add(0, place, columns)
    counts = torch.bincount(place, minlength=len(known)).to(columns)
    return (sums / counts[:, None])[torch.searchsorted(known, rows)]


def _column_mean(columns: Tensor, kept: Columns) -> Tensor:
    """``(B or 1, D)``: mean of the columns that each row sees."""
    removed = kept.removed(0, len(columns))
    if removed is None:
        return columns.mean(0, keepdim=True)
    weights = (~removed).to(columns)
    return weights @ columns / weights.sum(1, keepdim=True)
