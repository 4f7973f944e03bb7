"""Stage of a training in which each part is trained with all parts before it frozen (DVIS; DVIS++)."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

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
            batch: as for ``VideoSegmenter``; in training one clip per process.
        """
        if self.training:
            return self.losses(batch)
        return [self.video(record) for record in batch]

    def losses(self, batch: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Weighted losses by name."""
        raise NotImplementedError

    def video(self, record: dict[str, Any]) -> dict[str, Any]:
        """Result of one video."""
        raise NotImplementedError
