"""What mask decoders return and criteria compare with: predictions and targets, for images (T = 1) and clips alike."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

__all__ = ["DecoderOutput", "MaskPrediction", "MaskTargets"]


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
