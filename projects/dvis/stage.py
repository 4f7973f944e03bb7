"""Stage of a training in which each part is trained with all parts before it frozen (DVIS; DVIS++)."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

from dense.data.clip_cache import check_weights, weights_digest
from dense.modeling.losses import SetCriterion
from dense.modeling.meta_archs.image_segmenter import segmenter_parts
from dense.modeling.preprocess import Preprocessor
from dense.projects.dvis.registries import TRACKERS
from dense.projects.dvis.results import VideoResults, results_from_config

__all__ = ["StageParts", "TrainingStage"]


@dataclass(frozen=True)
class StageParts:
    """Parts of every stage after the segmenter.

    Attributes:
        backbone: images to features.
        sem_seg_head: features to queries.
        tracker: queries to objects through time.
        criterion: losses of the part that is trained.
        preprocessor: frames to the network's input.
        results: what is made of the predictions.
        halfway: until this step matches are those of the stage before, later the model's own.
    """

    backbone: nn.Module
    sem_seg_head: nn.Module
    tracker: nn.Module
    criterion: SetCriterion
    preprocessor: Preprocessor
    results: VideoResults
    halfway: int

    @classmethod
    def from_config(cls, cfg: CfgNode, criterion: SetCriterion) -> "StageParts":
        """Read MODEL.TRACKER.NAME, MODEL.MASK_FORMER.TEST.TASK and SOLVER.MAX_ITER beside the segmenter's keys."""
        return cls(
            **{**segmenter_parts(cfg), "criterion": criterion},
            tracker=TRACKERS.get(cfg.MODEL.TRACKER.NAME)(cfg),
            results=results_from_config(cfg),
            halfway=cfg.SOLVER.MAX_ITER // 2,
        )


class TrainingStage(nn.Module):
    """What online and offline models share: parts, frozen ones among them, the step of the training, and what a batch is.

    A subclass names its ``frozen`` parts, adds its own and then calls ``freeze``; it implements ``losses`` and ``video``.
    """

    frozen: ClassVar[tuple[str, ...]]

    def __init__(self, parts: StageParts) -> None:
        super().__init__()
        self.backbone, self.sem_seg_head, self.tracker = parts.backbone, parts.sem_seg_head, parts.tracker
        self.criterion, self.preprocessor, self.results = parts.criterion, parts.preprocessor, parts.results
        self.halfway, self.current_step = parts.halfway, 0
        self._digest = ""

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return self.preprocessor.mean.device

    @property
    def guided(self) -> bool:
        """Is this the first half of the training?"""
        return self.current_step < self.halfway

    def freeze(self) -> None:
        """No gradients in the frozen parts, and evaluation mode: batch norms keep their statistics."""
        for name in self.frozen:
            part = getattr(self, name)
            part.requires_grad_(False)
            part.eval()

    def train(self, mode: bool = True) -> "TrainingStage":
        """As in torch; the frozen parts stay in evaluation mode."""
        super().train(mode)
        self.freeze()
        return self

    def begin_step(self, step: int) -> None:
        """See ``dense.modeling.video.FollowsTraining``."""
        self.current_step = step

    def forward(self, batch: list[dict[str, Any]]) -> dict[str, Tensor] | list[dict[str, Any]]:
        """Losses in training, else the results of the task.

        Args:
            batch: as for ``VideoSegmenter``; in training clips of equal length, from a cache or not (``segment_clips``).
        """
        if self.training:
            self._check_source(batch)
            return self.losses(batch)
        return [self.video(record) for record in batch]

    def segmenter_digest(self) -> str:
        """Digest of the frozen segmenter's weights; a cache made by another one is refused."""
        parts = ("backbone", "sem_seg_head")
        return weights_digest({f"{p}.{name}": x for p in parts for name, x in getattr(self, p).state_dict().items()})

    def _check_source(self, batch: list[dict[str, Any]]) -> None:
        """Raises: ConfigError for cached clips of another segmenter; only one digest is computed, the parts are frozen."""
        made_by = {record["segmenter"]: record["cache"] for record in batch if "segmenter" in record}
        if not made_by:
            return
        self._digest = self._digest or self.segmenter_digest()
        for segmenter, cache in made_by.items():
            check_weights(segmenter, self._digest, cache)

    def losses(self, batch: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Weighted losses by name."""
        raise NotImplementedError

    def video(self, record: dict[str, Any]) -> dict[str, Any]:
        """Result of one video."""
        raise NotImplementedError
