"""Online video segmenter: a frozen segmenter and a referring tracker, in the order of time (DVIS++)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from torch import Tensor

from dense.modeling.video import QueryWindow, RunningLogits, check_one_size
from dense.projects.dvis.segmenting import reordered, segment, segment_clips, video_result
from dense.projects.dvis.stage import StageParts, TrainingStage
from dense.projects.dvis.trackers import TrackerState
from dense.projects.dvis.training import tracker_criterion, tracking_losses

__all__ = ["OnlineState", "OnlineVideoSegmenter"]


@dataclass(frozen=True)
class OnlineState:
    """What is carried from window to window: the tracker's state (``None`` before the first frame) and the logits so far."""

    tracker: TrackerState | None = None
    logits: RunningLogits = RunningLogits()

    @property
    def frames(self) -> int:
        """Number of frames seen."""
        return self.logits.frames


@META_ARCH_REGISTRY.register()
class OnlineVideoSegmenter(TrainingStage):
    """Only the tracker is trained; in the first half its matches are those of the segmenter's predictions."""

    frozen = ("backbone", "sem_seg_head")

    @configurable
    def __init__(self, *, parts: StageParts, window: int, whole_video: bool, contrast: bool) -> None:
        super().__init__(parts)
        self.window, self.whole_video, self.contrast = window, whole_video, contrast
        self.freeze()

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Read MODEL.{TRACKER, REFINER}.USE_CL and MODEL.MASK_FORMER.TEST.WINDOW_* beside the keys of ``StageParts``."""
        test = cfg.MODEL.MASK_FORMER.TEST
        return {
            "parts": StageParts.from_config(cfg, tracker_criterion(cfg)),
            "window": test.WINDOW_SIZE,
            "whole_video": not test.WINDOW_INFERENCE,
            "contrast": cfg.MODEL.TRACKER.USE_CL and cfg.MODEL.REFINER.USE_CL,  # both, as in the official code
        }

    def losses(self, batch: list[dict[str, Any]]) -> dict[str, Tensor]:
        """See ``TrainingStage``."""
        segmented = segment_clips(self, batch, self.device, predictions=self.guided)
        tracked, _ = self.tracker(segmented.embeddings, segmented.values, segmented.mask_features)
        guide = None if segmented.final is None else reordered(segmented.final, tracked.order.flatten(0, 1))
        return tracking_losses(self.criterion, tracked, segmented.clips, guide, contrast=self.contrast)

    def video(self, record: dict[str, Any]) -> dict[str, Any]:
        """See ``TrainingStage``."""
        return video_result(self, record)

    def start(self) -> OnlineState:
        """State before the first frame."""
        return OnlineState()

    @torch.no_grad()
    def step(self, frames: Sequence[Tensor], state: OnlineState) -> tuple[QueryWindow, OnlineState]:
        """Segment the next frames and follow the objects through them; see ``dense.modeling.video.StreamingModel``."""
        check_one_size(frames)
        stack, output = segment(self, frames)
        clip = (output.embeddings[None], output.embeddings_without_norm[None], output.mask_features[None])
        tracked, after = self.tracker(*clip, state.tracker)
        means, logits = state.logits.add(tracked.final.logits)
        window = QueryWindow(means, tracked.final.masks[:, :, 0].transpose(0, 1), stack.padded, stack.sizes[0])
        return window, OnlineState(after, logits)
