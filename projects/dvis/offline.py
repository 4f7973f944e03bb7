"""Offline video segmenter: segmenter and tracker, both frozen, and a temporal refiner over the whole video (DVIS++)."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from torch import Tensor, nn

from dense.modeling.predictions import MaskPrediction
from dense.modeling.preprocess import ImageStack
from dense.modeling.video import QueryWindow, RunningLogits
from dense.projects.dvis.contrast import MemoryContrast
from dense.projects.dvis.online import OnlineState
from dense.projects.dvis.registries import REFINERS
from dense.projects.dvis.segmenting import segment, segment_clips, video_result
from dense.projects.dvis.stage import StageParts, TrainingStage
from dense.projects.dvis.training import refiner_criterion, refining_losses

__all__ = ["OfflineState", "OfflineVideoSegmenter", "TrackedClip"]


@dataclass(frozen=True)
class TrackedClip:
    """A video after segmenter and tracker: all the refiner needs.

    Attributes:
        objects: the tracker's embeddings, ``(T, Q, C)``.
        queries: the segmenter's before its norm, in its own order, ``(T, Q, C)``.
        mask_features: ``(T, M, h, w)``, in float32 on the CPU.
        logits: means of the tracker's logits up to and including each frame, ``(T, Q, K+1)``.
        stack: the network's input, of the last window.
    """

    objects: Tensor
    queries: Tensor
    mask_features: Tensor
    logits: Tensor
    stack: ImageStack


@dataclass(frozen=True)
class OfflineState:
    """What is carried from window to window: that of the tracker, and the refiner's logits so far."""

    tracked: OnlineState = OnlineState()
    refined: RunningLogits = RunningLogits()

    @property
    def frames(self) -> int:
        """Number of frames seen."""
        return self.refined.frames


@META_ARCH_REGISTRY.register()
class OfflineVideoSegmenter(TrainingStage):
    """Only the refiner is trained; in the first half its matches are those of the tracker's predictions.

    Args:
        segmenter_window: frames segmented at a time at inference; ``None`` = all that are refined together.
        window: frames refined together at inference; ``None`` = the whole video. The tracker goes on from window to window.
    """

    frozen = ("backbone", "sem_seg_head", "tracker")
    whole_video = False  # ``window`` says how much it is

    @configurable
    def __init__(
        self,
        *,
        parts: StageParts,
        refiner: nn.Module,
        segmenter_window: int | None,
        window: int | None,
        contrast: MemoryContrast | None,
    ) -> None:
        super().__init__(parts)
        self.refiner, self.contrast = refiner, contrast
        self.segmenter_window, self.window = segmenter_window or sys.maxsize, window or sys.maxsize
        self.freeze()

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Read MODEL.REFINER.{NAME, USE_CL, WINDOW} and MODEL.MASK_FORMER.TEST.WINDOW_* beside the keys of ``StageParts``."""
        test, refiner = cfg.MODEL.MASK_FORMER.TEST, cfg.MODEL.REFINER
        return {
            "parts": StageParts.from_config(cfg, refiner_criterion(cfg)),
            "refiner": REFINERS.get(refiner.NAME)(cfg),
            "segmenter_window": test.WINDOW_SIZE if test.WINDOW_INFERENCE else None,
            "window": refiner.WINDOW or None,
            "contrast": MemoryContrast() if refiner.USE_CL else None,
        }

    def losses(self, batch: list[dict[str, Any]]) -> dict[str, Tensor]:
        """See ``TrainingStage``."""
        segmented = segment_clips(self, batch, self.device, predictions=False)
        with torch.no_grad():
            tracked, _ = self.tracker(segmented.embeddings, segmented.values, segmented.mask_features)
        guide = _averaged(tracked.final, *tracked.order.shape[:2]) if self.guided else None
        refined = self.refiner(tracked.embeddings, segmented.values, segmented.mask_features)
        return refining_losses(self.criterion, refined, segmented.clips, guide, self.contrast)

    def video(self, record: dict[str, Any]) -> dict[str, Any]:
        """See ``TrainingStage``."""
        return video_result(self, record)

    def start(self) -> OfflineState:
        """State before the first frame."""
        return OfflineState()

    @torch.no_grad()
    def step(self, frames: Sequence[Tensor], state: OfflineState) -> tuple[QueryWindow, OfflineState]:
        """Segment, track and refine the next frames; see ``dense.modeling.video.StreamingModel``.

        The refiner sees these frames only. Its classes are those of the window; over windows they are averaged by their frames.
        """
        tracked, after = self._track(frames, state.tracked, self.segmenter_window)
        final = self.refiner(tracked.objects[None], tracked.queries[None], tracked.mask_features[None]).final
        means, refined = state.refined.add(final.logits.expand(len(frames), -1, -1))
        stack = tracked.stack
        window = QueryWindow(means, final.masks[0], stack.padded, stack.sizes[0], tracked.logits)
        return window, OfflineState(after, refined)

    @torch.no_grad()
    def _track(self, frames: Sequence[Tensor], state: OnlineState, window: int) -> tuple[TrackedClip, OnlineState]:
        """Segment and track at least one frame, ``window`` of them at a time."""
        tracker_state, logits, parts = state.tracker, state.logits, []
        for first in range(0, len(frames), window):
            stack, output = segment(self, frames[first : first + window])
            values, features = output.embeddings_without_norm, output.mask_features
            tracked, tracker_state = self.tracker(output.embeddings[None], values[None], features[None], tracker_state)
            means, logits = logits.add(tracked.final.logits)
            # a video's maps do not fit an accelerator's memory
            parts.append((tracked.embeddings[0], values, features.float().cpu(), means))
        objects, queries, mask_features, so_far = (torch.cat(part) for part in zip(*parts, strict=True))
        return TrackedClip(objects, queries, mask_features, so_far, stack), OnlineState(tracker_state, logits)


def _averaged(tracked: MaskPrediction, clips: int, frames: int) -> MaskPrediction:
    """Predictions of frames, clip after clip → of clips: mean logits ``(B, Q, K+1)``, masks ``(B, Q, T, h, w)``."""
    logits = tracked.logits.unflatten(0, (clips, frames)).mean(1)
    return MaskPrediction(logits, tracked.masks[:, :, 0].unflatten(0, (clips, frames)).transpose(1, 2))
