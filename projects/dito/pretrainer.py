"""Image-text pretraining of transformer and text encoder (DITO §4), then of pyramid and box head over them (§5)."""

import contextlib
import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from torch import Tensor, nn

from dense.errors import DataError
from dense.modeling.objectives import Objective, ObjectiveOutput
from dense.projects.dito.pretraining_parts import RegionBranch, pretraining_parts
from dense.projects.dito.pyramid import LEVELS
from dense.projects.dito.region_sampler import RandomBoxes
from dense.projects.dito.roi_align import align_level
from dense.projects.dito.text.hard_captions import HardCaptions

__all__ = ["ImageTextPretrainer", "caption_ids", "stacked_images"]


@META_ARCH_REGISTRY.register()
class ImageTextPretrainer(nn.Module):
    """Images and their captions → contrastive losses.

    Without ``regions``: the mean of the transformer's map against the caption (``loss_image``). With them: on each pyramid
    level, the maximum of the box head's embeddings of random regions against the caption (``loss_p2`` …, divided by their
    number); the towers are frozen, or trained by these and ``loss_image``.

    Args:
        backbone: images ``(N, 3, S, S)`` in [0, 1], crops → ``(N, D, h, w)``.
        text: texts → ``(N, D)``; see ``TextTower``.
        objective: of whole images.
        crops: boxes for cropped positions and the side of the grid they lie in; ``None`` = whole positions.
        regions: the second stage.
        hard: makes false captions, for objectives that read ``hard``.
    """

    @configurable
    def __init__(
        self,
        *,
        backbone: nn.Module,
        text: nn.Module,
        objective: Objective,
        crops: tuple[RandomBoxes, int] | None = None,
        regions: RegionBranch | None = None,
        hard: HardCaptions | None = None,
    ) -> None:
        super().__init__()
        self.backbone, self.text, self.crops, self.regions, self.hard = backbone, text, crops, regions, hard
        self.trains_towers = regions is None or regions.train_towers
        self.objective = objective
        if regions is not None:
            self.pyramid, self.box_head = regions.pyramid, regions.box_head
            own = {level: part for level, part in regions.objectives.items() if part is not objective}
            self.level_objectives = nn.ModuleDict(own)
            if own and not self.trains_towers:
                objective.requires_grad_(False)
        if not self.trains_towers:
            self.backbone.requires_grad_(False)
            self.text.requires_grad_(False)
        self._wanted = False
        self._figures: dict[str, float] = {}

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """See ``pretraining_parts``."""
        return pretraining_parts(cfg)

    @property
    def log_scale(self) -> Tensor | None:
        """Logarithm of 1 / temperature where it is learnt."""
        return self.objective.temperature.log_scale

    def begin_step(self, step: int) -> None:
        """See ``dense.modeling.training_protocols.FollowsTraining``."""
        for part in self._objectives().values():
            part.begin_step(step)

    def want_figures(self, flag: bool) -> None:
        """See ``dense.modeling.training_protocols.ReportsFigures``."""
        self._wanted = flag

    def training_figures(self) -> dict[str, float]:
        """Temperature, share of images that find their caption in this process's batch, the objective's diagnostics."""
        return dict(self._figures)

    def _objectives(self) -> dict[str, Objective]:
        return {"image": self.objective, **(self.regions.objectives if self.regions is not None else {})}

    def forward(self, batch: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """Records with ``image`` ``(3, S, S)`` uint8 RGB and ``caption`` text → losses by name.

        Raises: DataError for an empty batch, or images or captions that do not go together.
        """
        captions = _captions(batch)
        images = stacked_images(batch, next(self.backbone.parameters()).device)
        with contextlib.nullcontext() if self.trains_towers else torch.no_grad():
            maps = self.backbone(images, self._positions(len(images)))
            texts, further = self._texts(captions)
        self._figures = {}
        losses: dict[str, Tensor] = {}
        if self.trains_towers:
            losses["loss_image"] = self._loss("image", maps.mean((2, 3)), texts, further)
        if self.regions is not None:
            losses |= self._region_losses(self.regions, maps, images.shape[-1], texts, further)
        return losses

    def _positions(self, count: int) -> Tensor | None:
        if self.crops is None or not self.training:
            return None
        boxes, side = self.crops
        return boxes(count, side, side).to(next(self.backbone.parameters()).device)

    def _texts(self, captions: list[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """``(N, D)``, and what else the objectives read about captions."""
        device, further = next(self.text.parameters()).device, {}
        if "captions" in self.objective.inputs:
            further["captions"] = caption_ids(captions).to(device)
        if self.hard is None or "hard" not in self.objective.inputs:
            return self.text(captions), further
        false, mask = self.hard(captions)
        embedded = self.text([*captions, *false])
        further |= {"hard": embedded[len(captions) :].unflatten(0, mask.shape), "hard_mask": mask.to(device)}
        further["hard_ids"] = caption_ids(false).view(mask.shape).to(device)
        return embedded[: len(captions)], further

    def _region_losses(
        self, regions: RegionBranch, maps: Tensor, side: int, texts: Tensor, further: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        boxes = regions.sampler(regions.boxes, len(maps), regions.count, side).to(maps.device)
        levels = self.pyramid(maps)
        return {
            f"loss_{level}": self._loss(level, self.region_embedding(levels[level], boxes, level), texts, further)
            / len(regions.objectives)
            for level in regions.objectives
        }

    def region_embedding(self, features: Tensor, boxes: Tensor, level: str) -> Tensor:
        """One embedding per image from its regions on one level.

        Args:
            features: ``(N, C, h, w)``.
            boxes: ``(N, R, 4)``, pixels.
            level: its name.

        Returns: ``(N, D)``, not of unit length.
        """
        assert self.regions is not None, "asked of the second stage only"
        cells = align_level(features, list(boxes), LEVELS[level], self.regions.side)
        found = self.box_head(cells)[0].unflatten(0, boxes.shape[:2])  # (N, R, D)
        return found.amax(1) if self.regions.pooling == "max" else found.mean(1)

    def _loss(self, name: str, images: Tensor, texts: Tensor, further: dict[str, Tensor]) -> Tensor:
        output: ObjectiveOutput = self._objectives()[name]([images.float(), texts.float()], **further)
        if self._wanted:
            self._note(name, images, texts, output)
        return output.loss

    @torch.no_grad()
    def _note(self, name: str, images: Tensor, texts: Tensor, output: ObjectiveOutput) -> None:
        units = [nn.functional.normalize(rows.detach().float(), dim=1) for rows in (images, texts)]
        found = (units[0] @ units[1].T).argmax(1) == torch.arange(len(images), device=images.device)
        own = {"found": found.float().mean(), **output.diagnostics}
        self._figures |= {f"{name}_{key}": float(value) for key, value in own.items()}
        self._figures[f"{name}_temperature"] = self._objectives()[name].temperature.current()


def caption_ids(captions: Sequence[str]) -> Tensor:
    """``(N,)`` int64, equal for texts equal but for case and spaces, in every process."""
    words = (" ".join(caption.lower().split()).encode() for caption in captions)
    return torch.tensor([int.from_bytes(hashlib.blake2b(w, digest_size=8).digest(), "big", signed=True) for w in words])


def stacked_images(batch: Sequence[dict[str, Any]], device: torch.device) -> Tensor:
    """Records' ``image`` → ``(N, 3, S, S)`` float32 in [0, 1] on a device. Raises: DataError naming what does not fit."""
    shapes = sorted({str(list(record["image"].shape)) for record in batch if "image" in record})
    if not batch or len(shapes) != 1 or any("image" not in record for record in batch):
        raise DataError(f"image: {len(batch)} records of shapes {', '.join(shapes[:4]) or 'none'}, expected one shape for all.")
    stacked: Tensor = torch.stack([record["image"] for record in batch])
    if stacked.dim() != 4 or stacked.shape[1] != 3 or stacked.shape[2] != stacked.shape[3] or stacked.dtype != torch.uint8:
        raise DataError(f"image: {stacked.dtype} {list(stacked.shape[1:])}, expected uint8 [3, S, S].")
    return stacked.to(device, non_blocking=True).float().div_(255)


def _captions(batch: Sequence[dict[str, Any]]) -> list[str]:
    captions = [record.get("caption") for record in batch]
    for number, caption in enumerate(captions):
        if not isinstance(caption, str):
            raise DataError(f"caption: record {number} of the batch has none. Is DATASETS.DATASET_TYPE image_captions?")
    return captions  # type: ignore[return-value]
