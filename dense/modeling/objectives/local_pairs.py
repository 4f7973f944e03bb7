"""CL2L: CLIP on whole pairs, and on every pair of a strongly augmented image and an augmented caption."""

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from torch import Tensor

from dense.errors import ConfigError, DataError
from dense.modeling.objectives.batch import Batch
from dense.modeling.objectives.checking import unit_rows
from dense.modeling.objectives.clip import CLIP
from dense.modeling.objectives.temperature import Temperature
from dense.modeling.registries import OBJECTIVES

__all__ = ["CL2L"]


@OBJECTIVES.register
class CL2L(CLIP):
    """(G + A·L) / (1 + A): G is CLIP on the views, L the mean of CLIP's loss over all A × A local pairs.

    Further inputs: ``local_images`` and ``local_texts``, A matrices ``(B, D)`` each: embeddings of strong crops and augmented
    captions by a head of their own. Without them it is CLIP.

    Args:
        local_temperature: of the local pairs, learnt apart.
        local_smoothing: of their targets; whole pairs have ``label_smoothing``.
        **common: see ``CLIP``.

    Source: Fini et al. 2023 (improved baselines for vision-language pre-training).
    """

    inputs = frozenset({"captions", "local_images", "local_texts"})

    @configurable
    def __init__(
        self,
        *,
        local_temperature: float = 0.1,
        local_smoothing: float = 0.1,
        **common: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(**common)
        if not 0 <= local_smoothing < 1:
            raise ConfigError(f"local_smoothing: {local_smoothing}, expected 0 to below 1.")
        self.local_temperature = Temperature(local_temperature, learn=True)
        self.local_smoothing = local_smoothing

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """See ``objective_node``."""
        own = {"local_temperature": cfg.LOCAL_TEMPERATURE, "local_smoothing": cfg.LOCAL_SMOOTHING}
        return super().from_config(cfg) | own

    def compute(  # type: ignore[override]
        self,
        batch: Batch,
        captions: Tensor | None = None,
        local_images: Sequence[Tensor] = (),
        local_texts: Sequence[Tensor] = (),
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See the class. Raises: DataError if the lists have other lengths or shapes."""
        loss, terms = super().compute(batch, captions)
        count = len(local_images)
        if len(local_texts) != count:
            raise DataError(f"local_texts: {len(local_texts)} matrices, but local_images has {count}.")
        if not count:
            return loss, terms
        parts = [self._local(batch, image, text, captions) for image in local_images for text in local_texts]
        to_text, to_image = (torch.stack(side).mean() for side in zip(*parts, strict=True))
        local = (to_text + to_image) / 2
        return (loss + count * local) / (1 + count), terms | {"local_image_to_text": to_text, "local_text_to_image": to_image}

    def _local(self, batch: Batch, image: Tensor, text: Tensor, captions: Tensor | None) -> tuple[Tensor, Tensor]:
        """Both directions of one pair of local views."""
        if image.shape[0] != batch.size or image.shape != text.shape:
            raise DataError(f"local views: {list(image.shape)}, {list(text.shape)}, expected two of ({batch.size}, D).")
        rows = [unit_rows(image, "local_images", self.normalise), unit_rows(text, "local_texts", self.normalise)]
        scale = self.local_temperature(rows[0])
        pair = Batch(rows, batch.weights, scale, batch.chunk, batch.counts, batch.first, mask=batch.mask)
        return self.both_directions(pair, captions, self.local_smoothing)
