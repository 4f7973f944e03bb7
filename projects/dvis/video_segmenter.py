"""Video segmenter: frames are independent images in training; at inference queries are matched from frame to frame (MinVIS).

With a contrastive objective and a decoder that has a re-identification head, this is the segmenter of CTVIS and DVIS++.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from torch import Tensor, nn

from dense.config.checks import Range, check_ranges
from dense.modeling.losses import SetCriterion
from dense.modeling.meta_archs.image_segmenter import segmenter_parts
from dense.modeling.preprocess import Preprocessor
from dense.modeling.video import QueryWindow, RunningLogits, check_one_size, clip_targets
from dense.projects.dvis.association import ASSOCIATIONS, Association, Memory
from dense.projects.dvis.contrast import TrackletContrast
from dense.projects.dvis.registries import OBJECTIVES
from dense.projects.dvis.results import VideoResults, results_from_config
from dense.projects.dvis.segmenting import segment, video_result

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
        logits: class logits so far, in the video's order.
    """

    memory: Memory | None = None
    logits: RunningLogits = RunningLogits()

    @property
    def frames(self) -> int:
        """Number of frames seen."""
        return self.logits.frames


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
        results: VideoResults,
        window: int,
        whole_video: bool,
        presence_threshold: float = 0.0,
        contrast: TrackletContrast | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.sem_seg_head = sem_seg_head
        self.criterion = criterion
        self.preprocessor = preprocessor
        self.association, self.presence_threshold = association, presence_threshold
        self.results, self.window, self.whole_video, self.contrast = results, window, whole_video, contrast

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Read MODEL.MASK_FORMER.TEST.*, MODEL.ASSOCIATION.NAME and MODEL.CL_PLUGIN.{ENABLED, CL_PLUGIN_NAME}.

        Raises: ConfigError for an unknown part, or a number out of its range.
        """
        check_ranges(cfg, _RANGES)
        test, plugin = cfg.MODEL.MASK_FORMER.TEST, cfg.MODEL.CL_PLUGIN
        return {
            **segmenter_parts(cfg),
            "association": ASSOCIATIONS.get(cfg.MODEL.ASSOCIATION.NAME)(cfg),
            "window": test.WINDOW_SIZE,
            "whole_video": not test.WINDOW_INFERENCE,
            "results": results_from_config(cfg),
            "presence_threshold": test.PRESENCE_THRESHOLD,
            "contrast": OBJECTIVES.get(plugin.CL_PLUGIN_NAME)(cfg) if plugin.ENABLED else None,
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
        return [video_result(self, record) for record in batch]

    def _losses(self, batch: list[dict[str, Any]]) -> dict[str, Tensor]:
        stack, output = segment(self, [frame for record in batch for frame in record["image"]])
        clips = [clip_targets(record["instances"], stack.padded, self.device) for record in batch]
        targets = [clip.frame(t) for clip in clips for t in range(clip.masks.shape[1])]  # video by video, as the frames lie
        losses = self.criterion.weighted(self.criterion(output.predictions, targets))
        return losses if self.contrast is None else {**losses, **self.contrast(output, clips)}

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
        Raises: DataError if the frames differ in size; NonFiniteError naming the frames if outputs are NaN or infinite.
        """
        check_one_size(frames)
        stack, output = segment(self, frames)
        final, followed = output.final, output.embeddings if output.reid is None else output.reid
        means, masks, logits, memory = [], [], state.logits, state.memory
        for t in range(len(frames)):
            order, memory = self.association(followed[t], final.logits[t].float(), memory)
            mean, logits = logits.add(final.logits[t, order][None])
            means.append(mean)
            masks.append(self._present(final.masks[t, order, 0], final.logits[t, order].float()))
        window = QueryWindow(torch.cat(means), torch.stack(masks, dim=1), stack.padded, stack.sizes[0])
        return window, SegmenterState(memory, logits)

    def _present(self, masks: Tensor, logits: Tensor) -> Tensor:
        """Empty the masks ``(Q, h, w)`` of queries that this frame's logits ``(Q, K+1)`` take for no object.

        Such a query often lies on another object while its own is away; MinVIS keeps its mask (threshold 0).
        """
        absent = 1 - logits.softmax(-1)[:, -1] < self.presence_threshold
        return masks.masked_fill(absent[:, None, None], _EMPTY)
