"""Video instance segmentation: the best (query, class) pairs, without threshold or rescoring (MinVIS, §3.3)."""

from typing import Any

from detectron2.config import CfgNode, configurable

from dense.modeling.postprocess import top_pairs
from dense.modeling.video_evidence import VideoEvidence, VideoTask

__all__ = ["InstanceResults"]


class InstanceResults:
    """Keeps ``max_objects`` pairs; one query may stand in several, with different classes."""

    task: VideoTask = "vis"

    @configurable
    def __init__(self, *, max_objects: int) -> None:
        self.max_objects = max_objects

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Read MODEL.MASK_FORMER.TEST.MAX_NUM."""
        return {"max_objects": cfg.MODEL.MASK_FORMER.TEST.MAX_NUM}

    def __call__(self, evidence: VideoEvidence) -> dict[str, Any]:
        """Returns ``pred_scores``, ``pred_labels`` (contiguous), ``pred_masks`` (``(T, H, W)`` bool each) and ``pred_ids``."""
        scores, queries, labels = top_pairs(evidence.probabilities[:, :-1], self.max_objects)
        return {
            "image_size": evidence.output,
            "pred_scores": scores.tolist(),
            "pred_labels": labels.tolist(),
            "pred_masks": [evidence.covered(query) for query in queries.tolist()],
            "pred_ids": queries.tolist(),
            "task": self.task,
        }
