"""What mask decoders return and criteria compare with: predictions and targets, for images (T = 1) and clips alike."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

__all__ = ["DecoderOutput", "FactoredPrediction", "MaskPrediction", "MaskTargets"]


@dataclass(frozen=True)
class MaskPrediction:
    """One prediction for every query.

    Attributes:
        logits: ``(B, Q, K+1)``; the last class is "no object".
        masks: mask logits ``(B, Q, T, h, w)``; images have T = 1.
    """

    logits: Tensor
    masks: Tensor

    def detach(self) -> "MaskPrediction":
        """The same numbers without a graph."""
        return MaskPrediction(self.logits.detach(), self.masks.detach())

    def record_masks(self, record: int) -> Tensor:
        """Mask logits of one record, ``(Q, T, h, w)``."""
        return self.masks[record]

    def chosen_masks(self, record: Tensor, query: Tensor) -> Tensor:
        """Mask logits of G queries: records in ascending order and queries, ``(G,)`` int64 each → ``(G, T, h, w)``."""
        return self.masks[record, query]


class FactoredPrediction(MaskPrediction):
    """A prediction of frames (T = 1) whose masks are products of embeddings and features, made of the queries asked for only.

    In training, losses need the masks of the matched queries and matching those of single frames: of 100 queries a few.

    Args:
        logits: ``(B, Q, K+1)``.
        embeddings: ``(B, Q, M)``.
        bias: added to each mask, ``(B, Q)``.
        features: ``(B, M, h, w)``.
    """

    def __init__(self, logits: Tensor, embeddings: Tensor, bias: Tensor, features: Tensor) -> None:
        for name, value in {"logits": logits, "embeddings": embeddings, "bias": bias, "features": features}.items():
            object.__setattr__(self, name, value)

    embeddings: Tensor
    bias: Tensor
    features: Tensor

    @property
    def masks(self) -> Tensor:  # type: ignore[override]
        """All of them, ``(B, Q, 1, h, w)``."""
        masks = torch.einsum("bqm,bmhw->bqhw", self.embeddings, self.features)
        return (masks + self.bias[:, :, None, None])[:, :, None]

    def record_masks(self, record: int) -> Tensor:
        """See ``MaskPrediction``."""
        masks = torch.einsum("qm,mhw->qhw", self.embeddings[record], self.features[record])
        return (masks + self.bias[record, :, None, None])[:, None]

    def chosen_masks(self, record: Tensor, query: Tensor) -> Tensor:
        """See ``MaskPrediction``."""
        counts = record.bincount(minlength=len(self.features))
        starts = counts.cumsum(0) - counts
        place = torch.arange(len(record), device=record.device) - starts[record]  # among those of its record
        padded = self.embeddings.new_zeros(len(counts), int(counts.max()), self.embeddings.shape[-1])
        padded = padded.index_put((record, place), self.embeddings[record, query])
        masks = torch.einsum("bgm,bmhw->bghw", padded, self.features)[record, place]
        return (masks + self.bias[record, query, None, None])[:, None]


@dataclass(frozen=True)
class DecoderOutput:
    """What a masked decoder returns.

    Attributes:
        predictions: one per supervised state, the raw queries first, the final one last.
        embeddings: final query state after the decoder's norm, ``(B, Q, C)``; a decoder with a re-identification head appends
            ``reid``, ``(B, Q, 2C)``.
        embeddings_without_norm: final query state as it stands, ``(B, Q, C)``, with the same appendix.
        mask_features: ``(B, C, h, w)`` at stride 4.
        reid: re-identification embeddings ``(B, Q, C)``, where the decoder has such a head.
    """

    predictions: list[MaskPrediction]
    embeddings: Tensor
    embeddings_without_norm: Tensor
    mask_features: Tensor
    reid: Tensor | None = None

    @property
    def final(self) -> MaskPrediction:
        """The last prediction."""
        return self.predictions[-1]


@dataclass(frozen=True)
class MaskTargets:
    """Objects of one image or clip.

    Attributes:
        labels: ``(N,)`` int64 contiguous categories.
        masks: ``(N, T, H, W)`` bool at the padded input size.
        ids: ``(N, T)`` int64 identities, -1 = not visible; ``None`` for images.
    """

    labels: Tensor
    masks: Tensor
    ids: Tensor | None = None

    def frame(self, t: int) -> "MaskTargets":
        """Frame ``t`` alone, with every object of the clip (an absent one has an empty mask and keeps its label)."""
        ids = None if self.ids is None else self.ids[:, t : t + 1]
        return MaskTargets(self.labels, self.masks[:, t : t + 1], ids)

    def keep(self, index: Tensor) -> "MaskTargets":
        """The objects that ``index`` (bool or int64) selects."""
        ids = None if self.ids is None else self.ids[index]
        return replace(self, labels=self.labels[index], masks=self.masks[index], ids=ids)

    def to(self, device: torch.device) -> "MaskTargets":
        """The same on another device."""
        ids = None if self.ids is None else self.ids.to(device)
        return MaskTargets(self.labels.to(device), self.masks.to(device), ids)
