"""Video semantic segmentation: class probabilities times mask probabilities, summed over queries (DVIS)."""

from typing import Any

import torch

from dense.projects.dvis.results.evidence import VideoEvidence

__all__ = ["SemanticResults"]


class SemanticResults:
    """The best class of each pixel; every pixel gets one."""

    def __call__(self, evidence: VideoEvidence) -> dict[str, Any]:
        """Returns ``pred_masks`` ``(T, H, W)`` int32 contiguous classes."""
        classes = evidence.probabilities[:, :-1].to(evidence.masks.device)
        frames = evidence.frame_probabilities(torch.arange(len(classes)))
        maps = [torch.einsum("qk,qhw->khw", classes, probability).argmax(0) for probability in frames]
        return {"image_size": evidence.output, "task": "vss", "pred_masks": torch.stack(maps).to(torch.int32).cpu()}
