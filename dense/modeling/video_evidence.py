"""What a video's results are made of, and how masks come to the size asked for."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from dense.modeling.postprocess import resize_masks

__all__ = ["VideoEvidence", "VideoResults", "VideoTask"]

VideoTask = Literal["vis", "vps", "vss"]
"""Instances, panoptic or semantic segmentation of videos; values of MODEL.MASK_FORMER.TEST.TASK."""

_FRAMES = 8  # full-size masks of so many frames at once


@dataclass(frozen=True)
class VideoEvidence:
    """Predictions for a whole video.

    Attributes:
        probabilities: class probabilities ``(Q, K+1)``; fused ones need not sum to 1.
        masks: mask logits ``(Q, T, h, w)`` at stride 4 of the padded input.
        padded: (height, width) of the network's input, pixels.
        unpadded: (height, width) of the frames inside it, pixels.
        output: (height, width) asked for, pixels.
    """

    probabilities: Tensor
    masks: Tensor
    padded: tuple[int, int]
    unpadded: tuple[int, int]
    output: tuple[int, int]

    def covered(self, query: int) -> Tensor:
        """Pixels of one query at the output size, ``(T, H, W)`` bool; full-size logits exist for a few frames at a time."""
        parts = self.masks[query][None].split(_FRAMES, dim=1)
        return torch.cat([resize_masks(part, self.padded, self.unpadded, self.output)[0] > 0 for part in parts])

    def frame_probabilities(self, queries: Tensor) -> Iterator[Tensor]:
        """Mask probabilities of some queries, frame by frame, ``(N, H, W)``; the sigmoid comes before the second resizing."""
        chosen = queries.to(self.masks.device)
        for masks in self.masks.unbind(1):
            inside = resize_masks(masks[chosen], self.padded, self.unpadded, self.unpadded).sigmoid()
            yield F.interpolate(inside[:, None], size=self.output, mode="bilinear", align_corners=False)[:, 0]


class VideoResults(Protocol):
    """Turns evidence into the result of one task; a ``StreamingModel`` may have one under the name ``results``.

    Attributes:
        task: which one.
    """

    task: VideoTask

    def __call__(self, evidence: VideoEvidence) -> dict[str, Any]:
        """Returns ``image_size``, ``task`` and the entries of the task."""
