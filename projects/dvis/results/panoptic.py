"""Video panoptic segmentation: every pixel to the query with the best score times probability (DVIS)."""

from typing import Any

import torch
from detectron2.config import CfgNode, configurable

from dense.modeling.meta_archs.image_segmenter import things_from_config
from dense.modeling.postprocess import panoptic_segments
from dense.modeling.video_evidence import VideoEvidence, VideoTask

__all__ = ["PanopticResults"]


class PanopticResults:
    """Segments of a video; a query must win its share of pixels over all frames together.

    Args:
        things: classes with instances.
        object_threshold: least score of a query.
        overlap_threshold: least share of its own mask that a query must win.
    """

    task: VideoTask = "vps"

    @configurable
    def __init__(self, *, things: frozenset[int], object_threshold: float, overlap_threshold: float) -> None:
        self.things, self.object_threshold, self.overlap_threshold = things, object_threshold, overlap_threshold

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Read MODEL.MASK_FORMER.TEST.*_THRESHOLD and the things (TEST.THING_CLASSES, or those of DATASETS.TRAIN[0])."""
        test = cfg.MODEL.MASK_FORMER.TEST
        return {
            "things": things_from_config(cfg, f"MODEL.MASK_FORMER.TEST.TASK: {test.TASK}"),
            "object_threshold": test.OBJECT_MASK_THRESHOLD,
            "overlap_threshold": test.OVERLAP_THRESHOLD,
        }

    def __call__(self, evidence: VideoEvidence) -> dict[str, Any]:
        """Returns ``pred_masks`` ``(T, H, W)`` int32 segment ids (0 = none), ``segments_infos`` and ``pred_ids`` (queries)."""
        scores, labels = evidence.probabilities.max(-1)
        kept = ((labels != evidence.probabilities.shape[1] - 1) & (scores > self.object_threshold)).nonzero()[:, 0]
        found: dict[str, Any] = {"image_size": evidence.output, "task": self.task, "segments_infos": [], "pred_ids": []}
        if not len(kept):
            return {**found, "pred_masks": torch.zeros((evidence.masks.shape[1], *evidence.output), dtype=torch.int32)}
        device = evidence.masks.device
        maps, segments, queries = panoptic_segments(
            evidence.frame_probabilities(kept),
            scores[kept].to(device),
            labels[kept].to(device),
            self.things,
            self.overlap_threshold,
        )
        return {
            **found,
            "pred_masks": maps.cpu(),
            "segments_infos": [{"id": s.id, "isthing": s.isthing, "category_id": s.category_id} for s in segments],
            "pred_ids": kept[queries].tolist(),
        }
