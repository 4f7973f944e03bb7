"""Video semantic segmentation: class probabilities times mask probabilities, summed over queries (DVIS)."""

from typing import Any

import torch

from dense.modeling.video_evidence import VideoEvidence, VideoTask

__all__ = ["SemanticResults"]


class SemanticResults:
    """The best class of each pixel; every pixel gets one."""

    task: VideoTask = "vss"

    def __call__(self, evidence: VideoEvidence) -> dict[str, Any]:
        """Returns ``pred_masks`` ``(T, H, W)`` int32 contiguous classes."""
        classes = evidence.probabilities[:, :-1].to(evidence.masks.device)
        frames = evidence.frame_probabilities(torch.arange(len(classes)))
        maps = [torch.einsum("qk,qhw->khw", classes, probability).argmax(0).to(torch.int32) for probability in frames]
        return {"image_size": evidence.output, "task": self.task, "pred_masks": torch.stack(maps).cpu()}
