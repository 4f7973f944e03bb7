"""NegCLIP and DeGLA: false versions of captions, with words swapped, as further negatives."""

from dataclasses import dataclass
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from torch import Tensor

from dense.config.checks import check_choice
from dense.errors import ConfigError, DataError
from dense.modeling.objectives.batch import Batch
from dense.modeling.objectives.checking import check_flags, unit_rows
from dense.modeling.objectives.clip import CLIP
from dense.modeling.objectives.similarity import Columns, row_lse
from dense.modeling.registries import OBJECTIVES

__all__ = ["DeGLA", "NegCLIP"]


@dataclass(frozen=True)
class FalseCaptions:
    """Embeddings ``(B, M, D)`` of unit length, which of them exist ``(B, M)`` bool, and numbers of their texts ``(B, M)``."""

    rows: Tensor
    mask: Tensor
    ids: Tensor | None = None


@OBJECTIVES.register
class NegCLIP(CLIP):
    """CLIP's loss, where an image must also tell its caption from false versions of everybody's captions.

    Further inputs, all optional: ``hard`` ``(B, M, D)``, embeddings of M false versions of each caption, M being the same in
    every process; ``hard_mask`` ``(B, M)`` bool, True = there is such a version; ``hard_ids`` ``(B, M)``, numbers of their
    texts as in ``captions``: a version that is some image's true caption is no negative of that image. False versions are
    columns of the images only, never rows of their own. Without ``hard`` it is CLIP.

    Source: Yuksekgonul et al. 2023.
    """

    inputs = frozenset({"captions", "hard", "hard_mask", "hard_ids"})

    def compute(  # type: ignore[override]
        self,
        batch: Batch,
        captions: Tensor | None = None,
        hard: Tensor | None = None,
        hard_mask: Tensor | None = None,
        hard_ids: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See the class."""
        false = _checked(batch, hard, hard_mask, hard_ids)
        return self.whole_batch(batch, captions, false)

    def whole_batch(
        self, batch: Batch, captions: Tensor | None, false: FalseCaptions | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of images against all captions, true and false, and of captions against all images."""
        further = None if false is None else self._false_part(batch, captions, false)
        to_text, to_image = self.both_directions(batch, captions, self.label_smoothing, further)
        return (to_text + to_image) / 2, {"image_to_text": to_text, "text_to_image": to_image}

    def _false_part(self, batch: Batch, captions: Tensor | None, false: FalseCaptions) -> Tensor:
        """``(B,)``: logarithm of the sum over all false captions of each image; minus infinity if there is none."""
        columns = batch.gathered(false.rows).flatten(0, 1)  # (N·M, D)
        alive = batch.gathered(false.mask.to(torch.uint8)).bool().flatten()
        groups = None
        if captions is not None and false.ids is not None:
            groups = (captions, batch.gathered(false.ids).flatten())
        return row_lse(batch.views[0], columns, batch.scale, Columns(alive=alive, groups=groups), chunk=batch.chunk)


@OBJECTIVES.register
class DeGLA(NegCLIP):
    """NegCLIP, further terms within a caption's own false versions, and a slow copy (teacher) that keeps general ability.

    Further inputs besides NegCLIP's: ``teacher_image``, ``teacher_text`` ``(B, D)``, ``teacher_hard`` ``(B, M, D)``: the same
    by the teacher, without gradient. The image-grounded term lets an image find its caption among its own false versions; the
    text-grounded one lets a caption find its teacher's embedding among them; distillation is the squared distance to the
    teacher, summed over the whole batch.

    Args:
        image_weight, text_weight, distill_weight: of these terms.
        text_scale: 1 / temperature of the text-grounded term.
        layout: "own" = a caption against its own false versions; "published" = as the public code reads its negatives, m·B + b.
        **common: see ``CLIP``.

    Source: Hu et al. 2025.
    """

    inputs = NegCLIP.inputs | {"teacher_image", "teacher_text", "teacher_hard"}

    @configurable
    def __init__(
        self,
        *,
        image_weight: float = 0.1,
        text_weight: float = 0.1,
        distill_weight: float = 0.005,
        text_scale: float = 10.0,
        layout: str = "own",
        **common: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(**common)
        if min(image_weight, text_weight, distill_weight) < 0 or text_scale <= 0:
            raise ConfigError("weights of DeGLA: expected 0 or more, and text_scale above 0.")
        self.weights, self.text_scale = (image_weight, text_weight, distill_weight), text_scale
        self.layout = check_choice("layout", layout, ("own", "published"))

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """See ``objective_node``."""
        keys = {"image_weight": cfg.W_IGC, "text_weight": cfg.W_TGC, "distill_weight": cfg.W_DISTILL, "layout": cfg.TGC_LAYOUT}
        return super().from_config(cfg) | keys

    def compute(  # type: ignore[override]
        self,
        batch: Batch,
        teacher_image: Tensor | None = None,
        teacher_text: Tensor | None = None,
        teacher_hard: Tensor | None = None,
        captions: Tensor | None = None,
        **hard: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See the class. Raises: DataError without the teacher's embeddings."""
        if teacher_image is None or teacher_text is None:
            raise DataError("teacher_image, teacher_text: missing, DeGLA needs the slow copy's embeddings.")
        false = _checked(batch, hard.get("hard"), hard.get("hard_mask"), hard.get("hard_ids"))
        loss, terms = self.whole_batch(batch, captions, false)
        image, text = batch.views
        old_image, old_text = (unit_rows(rows.detach(), "teacher") for rows in (teacher_image, teacher_text))
        distance = (image - old_image).square().sum(1) + (text - old_text).square().sum(1)
        parts = {"image_grounded": loss.new_zeros(()), "text_grounded": loss.new_zeros(())}
        if false is not None:
            parts["image_grounded"] = self._own(batch, image, text, false, batch.scale)
            others = false if self.layout == "own" else _as_published(false)
            parts["text_grounded"] = self._own(batch, text, old_text, others, text.new_tensor(self.text_scale))
            if teacher_hard is not None:
                old = unit_rows(teacher_hard.detach().flatten(0, 1), "teacher_hard").view_as(false.rows)
                distance = distance + ((false.rows - old).square().sum(2) * false.mask).sum(1)
        parts["distill"] = batch.mean(distance * batch.total)  # a sum over the batch, as published
        loss = loss + sum(weight * part for weight, part in zip(self.weights, parts.values(), strict=True))
        return loss, terms | parts

    @staticmethod
    def _own(batch: Batch, query: Tensor, positive: Tensor, false: FalseCaptions, scale: Tensor) -> Tensor:
        """Mean cross-entropy of each row against its positive and its own false captions."""
        logits = torch.einsum("bd,bmd->bm", query, false.rows) * scale
        logits = logits.masked_fill(~false.mask, -torch.inf)  # after the scale, whose gradient would be 0 times infinity
        true = (query * positive).sum(1, keepdim=True) * scale
        return batch.mean(torch.logsumexp(torch.cat([true, logits], 1), dim=1) - true[:, 0])


def _checked(batch: Batch, hard: Tensor | None, mask: Tensor | None, ids: Tensor | None) -> FalseCaptions | None:
    """Raises: DataError naming the input of another shape."""
    if hard is None:
        return None
    size, width = batch.views[0].shape
    if hard.dim() != 3 or hard.shape[0] != size or hard.shape[2] != width:
        raise DataError(f"hard: {list(hard.shape)}, expected ({size}, M, {width}), false versions of each caption.")
    shape = (size, hard.shape[1])
    if mask is None:
        mask = torch.ones(shape, dtype=torch.bool, device=hard.device)
    check_flags(mask, "hard_mask", shape)
    if ids is not None and ids.shape != shape:
        raise DataError(f"hard_ids: {list(ids.shape)}, expected {list(shape)}.")
    if hard.shape[1] == 0:
        return None
    rows = unit_rows(hard.flatten(0, 1), "hard", counted=mask.flatten()).view_as(hard)
    return FalseCaptions(rows, mask, ids)


def _as_published(false: FalseCaptions) -> FalseCaptions:
    size, count = false.mask.shape
    index = torch.arange(count, device=false.mask.device) * size + torch.arange(size, device=false.mask.device)[:, None]
    return FalseCaptions(false.rows.flatten(0, 1)[index], false.mask.flatten()[index])
