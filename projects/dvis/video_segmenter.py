"""Video segmenter: frames are independent images in training; at inference queries are matched from frame to frame (MinVIS)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from torch import Tensor, nn

from dense.config.checks import Range, check_ranges
from dense.errors import ConfigError, DataError, NonFiniteError
from dense.modeling.losses import SetCriterion
from dense.modeling.meta_archs.image_segmenter import segmenter_parts
from dense.modeling.preprocess import Preprocessor
from dense.modeling.video import QueryWindow, clip_targets, select_objects
from dense.projects.dvis.association import ASSOCIATIONS, Association, Memory

__all__ = ["SegmenterState", "VideoSegmenter"]

_RANGES: dict[str, Range] = {
    "MODEL.MASK_FORMER.TEST.WINDOW_SIZE": (1, math.inf),
    "MODEL.MASK_FORMER.TEST.MAX_NUM": (1, math.inf),
    "MODEL.MASK_FORMER.TEST.PRESENCE_THRESHOLD": (0, 1),
    "MODEL.ASSOCIATION.DECAY": (0, 1),
}
_EMPTY = -1e4  # mask logit of nothing; finite, because it is interpolated


@dataclass(frozen=True)
class SegmenterState:
    """What is carried from window to window.

    Attributes:
        memory: what the association remembers; ``None`` before the first frame.
        logit_sum: sum over frames of the class logits ``(Q, K+1)`` in the video's order.
        frames: number of frames seen.
    """

    memory: Memory | None = None
    logit_sum: Tensor | None = None
    frames: int = 0


@META_ARCH_REGISTRY.register()
class VideoSegmenter(nn.Module):
    """Mask2Former on every frame; the order of the queries follows the objects."""

    @configurable
    def __init__(
        self,
        *,
        backbone: nn.Module,
        sem_seg_head: nn.Module,
        criterion: SetCriterion,
        preprocessor: Preprocessor,
        association: Association,
        window: int,
        whole_video: bool,
        max_objects: int,
        presence_threshold: float = 0.0,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.sem_seg_head = sem_seg_head
        self.criterion = criterion
        self.preprocessor = preprocessor
        self.association, self.presence_threshold = association, presence_threshold
        self.window, self.whole_video, self.max_objects = window, whole_video, max_objects

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Read MODEL.MASK_FORMER.TEST.* and MODEL.ASSOCIATION.NAME.

        Raises: ConfigError for another task, an unknown part, or a number out of its range.
        """
        check_ranges(cfg, _RANGES)
        test = cfg.MODEL.MASK_FORMER.TEST
        if test.TASK != "vis":
            raise ConfigError(f"MODEL.MASK_FORMER.TEST.TASK: {test.TASK!r}, expected 'vis'; this model segments instances.")
        return {
            **segmenter_parts(cfg),
            "association": ASSOCIATIONS.get(cfg.MODEL.ASSOCIATION.NAME)(cfg),
            "window": test.WINDOW_SIZE,
            "whole_video": not test.WINDOW_INFERENCE,
            "max_objects": test.MAX_NUM,
            "presence_threshold": test.PRESENCE_THRESHOLD,
        }

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return self.preprocessor.mean.device

    def forward(self, batch: list[dict[str, Any]]) -> dict[str, Tensor] | list[dict[str, Any]]:
        """Losses in training, video instance results otherwise.

        Args:
            batch: per video ``image`` (T frames ``(3, h, w)`` in 0 to 255), ``height``, ``width`` (of the output), and in
                training ``instances`` (see ``dense.modeling.video.clip_targets``).

        Returns: weighted losses by name, or per video ``image_size``, ``pred_scores``, ``pred_labels`` (contiguous),
            ``pred_masks`` (one ``(T, H, W)`` bool per object) and ``pred_ids``.
        Raises: DataError for a video without frames; NonFiniteError if outputs are NaN or infinite.
        """
        if self.training:
            return self._losses(batch)
        return [self._video(record) for record in batch]

    def _losses(self, batch: list[dict[str, Any]]) -> dict[str, Tensor]:
        stack = self.preprocessor([frame for record in batch for frame in record["image"]])
        output = self.sem_seg_head(self.backbone(stack.tensor))
        clips = [clip_targets(record["instances"], stack.padded, self.device) for record in batch]
        targets = [clip.frame(t) for clip in clips for t in range(clip.masks.shape[1])]  # video by video, as the frames lie
        return self.criterion.weighted(self.criterion(output.predictions, targets))

    @torch.no_grad()
    def _video(self, record: dict[str, Any]) -> dict[str, Any]:
        frames = record["image"]
        if len(frames) == 0:
            raise DataError("image: the video has no frame, expected at least one.")
        size = len(frames) if self.whole_video else self.window
        state, masks = self.start(), []
        for first in range(0, len(frames), size):
            window, state = self.step(frames[first : first + size], state)
            masks.append(window.masks.float().cpu())
        output = record.get("height", window.unpadded[0]), record.get("width", window.unpadded[1])
        objects = select_objects(window.logits[-1], torch.cat(masks, dim=1), self.max_objects, window, output)
        return {
            "image_size": output,
            "pred_scores": objects.scores.tolist(),
            "pred_labels": objects.labels.tolist(),
            "pred_masks": list(objects.masks),
            "pred_ids": objects.queries.tolist(),
            "task": "vis",
        }

    def start(self) -> SegmenterState:
        """State before the first frame."""
        return SegmenterState()

    @torch.no_grad()
    def step(self, frames: Sequence[Tensor], state: SegmenterState) -> tuple[QueryWindow, SegmenterState]:
        """Segment the next frames and bring their queries into the video's order.

        Args:
            frames: T frames ``(3, h, w)`` in 0 to 255, all of one size.
            state: from ``start`` or the last ``step``; it is not changed.

        Returns: their predictions, and the state after them.
        Raises: NonFiniteError naming the frames if outputs are NaN or infinite.
        """
        stack = self.preprocessor(frames)
        output = self.sem_seg_head(self.backbone(stack.tensor))
        final, memory, total = output.final, state.memory, state.logit_sum
        if not torch.isfinite(final.logits).all():
            raise NonFiniteError(
                f"frames {state.frames} to {state.frames + len(frames) - 1}: the model's outputs are not finite."
            )
        masks, means = [], []
        for t in range(len(frames)):
            logits = final.logits[t].float()
            order, memory = self.association(output.embeddings[t], logits, memory)
            total = logits[order] if total is None else total + logits[order]
            means.append(total / (state.frames + t + 1))
            masks.append(self._present(final.masks[t, order, 0], logits[order]))
        window = QueryWindow(torch.stack(means), torch.stack(masks, dim=1), stack.padded, stack.sizes[0])
        return window, SegmenterState(memory, total, state.frames + len(frames))

    def _present(self, masks: Tensor, logits: Tensor) -> Tensor:
        """Empty the masks ``(Q, h, w)`` of queries that this frame's logits ``(Q, K+1)`` take for no object.

        Such a query often lies on another object while its own is away; MinVIS keeps its mask (threshold 0).
        """
        absent = 1 - logits.softmax(-1)[:, -1] < self.presence_threshold
        return masks.masked_fill(absent[:, None, None], _EMPTY)
