"""Offline video segmenter: segmenter and tracker, both frozen, and a temporal refiner over the whole video (DVIS++)."""

import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from torch import Tensor

from dense.errors import DataError
from dense.modeling.predictions import MaskPrediction
from dense.modeling.video import QueryWindow, RunningLogits, check_one_size
from dense.projects.dvis.contrast import MemoryContrast
from dense.projects.dvis.online import OnlineState
from dense.projects.dvis.refiners import TemporalRefiner
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
        mask_features: ``(T, M, h, w)``, on the CPU.
        logits: means of the tracker's logits up to and including each frame, ``(T, Q, K+1)``.
        padded: (height, width) of the network's input, pixels.
        unpadded: (height, width) of the frames inside it, pixels.
    """

    objects: Tensor
    queries: Tensor
    mask_features: Tensor
    logits: Tensor
    padded: tuple[int, int]
    unpadded: tuple[int, int]


@dataclass(frozen=True)
class OfflineState:
    """What is carried from window to window.

    Attributes:
        tracked: that of the tracker.
        refined: the refiner's logits so far.
        waiting: frames that are tracked but not refined yet; the memory of a video lies here.
    """

    tracked: OnlineState = OnlineState()
    refined: RunningLogits = RunningLogits()
    waiting: tuple[TrackedClip, ...] = ()

    @property
    def frames(self) -> int:
        """Number of frames seen."""
        return self.tracked.frames


@META_ARCH_REGISTRY.register()
class OfflineVideoSegmenter(TrainingStage):
    """Only the refiner is trained; in the first half its matches are those of the tracker's predictions.

    Args:
        segmenter_window: frames segmented at a time at inference; ``None`` = all that are refined together.
        window: frames refined together at inference; ``None`` = the whole video. The tracker goes on from window to window.
    """

    refiner: TemporalRefiner  # or one with the same methods
    frozen = ("backbone", "sem_seg_head", "tracker")
    whole_video = False  # ``window`` says how much it is

    @configurable
    def __init__(
        self,
        *,
        parts: StageParts,
        refiner: TemporalRefiner,
        segmenter_window: int | None,
        window: int | None,
        contrast: MemoryContrast | None,
    ) -> None:
        super().__init__(parts)
        self.refiner, self.contrast = refiner, contrast
        self.window = window or sys.maxsize
        self.intake = segmenter_window or self.window
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

    def training_state(self) -> dict[Any, Any]:
        """See ``dense.modeling.video.RemembersTraining``: the embeddings that the contrastive loss keeps of each class."""
        return {} if self.contrast is None else self.contrast.memory.state_dict()

    def load_training_state(self, state: dict[Any, Any]) -> None:
        """See ``dense.modeling.video.RemembersTraining``."""
        if self.contrast is not None:
            self.contrast.memory.load_state_dict(state)

    def video(self, record: dict[str, Any]) -> dict[str, Any]:
        """See ``TrainingStage``."""
        return video_result(self, record)

    def start(self) -> OfflineState:
        """State before the first frame."""
        return OfflineState()

    @torch.no_grad()
    def step(self, frames: Sequence[Tensor], state: OfflineState) -> tuple[QueryWindow, OfflineState]:
        """Segment, track and refine the next frames; see ``dense.modeling.video.StreamingModel``.

        The refiner sees these frames and those that wait. Its classes are those of the window; over windows they are averaged
        by their frames.
        """
        check_one_size(frames)
        for first in range(0, len(frames), self.intake):
            state = self.take(frames[first : first + self.intake], state)
        count = sum(len(clip.objects) for clip in state.waiting)
        parts, state = self.judge(state)
        return _joined(parts, count), state

    @torch.no_grad()
    def take(self, frames: Sequence[Tensor], state: OfflineState) -> OfflineState:
        """Segment and track the next frames; see ``dense.modeling.video.GatheringModel``."""
        check_one_size(frames)
        stack, output = segment(self, frames)
        values, features = output.embeddings_without_norm, output.mask_features
        tracked, tracker = self.tracker(output.embeddings[None], values[None], features[None], state.tracked.tracker)
        means, logits = state.tracked.logits.add(tracked.final.logits)
        # a video's maps do not fit an accelerator's memory; a view would keep the embeddings of all layers
        kept = (tracked.embeddings[0].clone(), values.clone(), features.cpu(), means, stack.padded, stack.sizes[0])
        return OfflineState(OnlineState(tracker, logits), state.refined, (*state.waiting, TrackedClip(*kept)))

    @torch.no_grad()
    def judge(self, state: OfflineState) -> tuple[Iterator[QueryWindow], OfflineState]:
        """Refine what waits; see ``dense.modeling.video.GatheringModel``.

        Raises: DataError if nothing waits, or frames of several sizes.
        """
        clips = list(state.waiting)
        sizes = sorted({clip.unpadded for clip in clips})
        if len(sizes) != 1:
            raise DataError(f"frames to refine: sizes (height, width) {sizes}, expected at least one frame, all of one size.")
        objects, queries = (torch.cat([getattr(clip, name) for clip in clips])[None] for name in ("objects", "queries"))
        normed = self.refiner.relate(objects, queries)[-1]
        means, refined = state.refined.add(self.refiner.classes(normed).expand(objects.shape[1], -1, -1))
        return self._windows(clips, normed, means), OfflineState(state.tracked, refined)

    @torch.no_grad()
    def _windows(self, clips: list[TrackedClip], normed: Tensor, means: Tensor) -> Iterator[QueryWindow]:
        """Windows clip by clip, each with its part of the means ``(T, Q, K+1)``; ``clips`` is emptied as they come."""
        shown = deque((clip.logits, clip.padded, clip.unpadded) for clip in clips)
        clips.reverse()
        features = (clips.pop().mask_features[None] for _ in range(len(clips)))
        first = 0
        for masks in self.refiner.mask_windows(normed, features):
            logits, padded, unpadded = shown.popleft()
            yield QueryWindow(means[first : first + len(logits)], masks[0], padded, unpadded, logits)
            first += len(logits)


def _joined(windows: Iterable[QueryWindow], frames: int) -> QueryWindow:
    """Windows of consecutive frames, ``frames`` in all, as one."""
    parts, masks, first = [], torch.empty(0), 0
    for part in windows:
        if not first:
            masks = part.masks.new_empty((len(part.masks), frames, *part.masks.shape[2:]))
        masks[:, first : first + part.masks.shape[1]] = part.masks
        first += part.masks.shape[1]
        parts.append(replace(part, masks=masks[:, :0]))
    logits, auxiliary = (torch.cat([getattr(part, name) for part in parts]) for name in ("logits", "auxiliary"))
    return QueryWindow(logits, masks, part.padded, part.unpadded, auxiliary)


def _averaged(tracked: MaskPrediction, clips: int, frames: int) -> MaskPrediction:
    """Predictions of frames, clip after clip → of clips: mean logits ``(B, Q, K+1)``, masks ``(B, Q, T, h, w)``."""
    logits = tracked.logits.unflatten(0, (clips, frames)).mean(1)
    return MaskPrediction(logits, tracked.masks[:, :, 0].unflatten(0, (clips, frames)).transpose(1, 2))
