"""From video logits and masks to results; one file per task (MODEL.MASK_FORMER.TEST.TASK).

All start from ``dense.modeling.video_evidence.VideoEvidence``.

``instances``  vis: objects with masks
``panoptic``   vps: one map of segments per frame, ids constant through the video
``semantic``   vss: one class per pixel
"""

from typing import Any

from detectron2.config import CfgNode

from dense.errors import ConfigError
from dense.modeling.video_evidence import VideoEvidence, VideoResults
from dense.projects.dvis.results.instances import InstanceResults
from dense.projects.dvis.results.panoptic import PanopticResults
from dense.projects.dvis.results.semantic import SemanticResults
from dense.registry import nearest

__all__ = [
    "InstanceResults",
    "PanopticResults",
    "SemanticResults",
    "VideoEvidence",
    "VideoResults",
    "results_from_config",
]

_TASKS: dict[str, Any] = {"vis": InstanceResults, "vps": PanopticResults, "vss": lambda cfg: SemanticResults()}


def results_from_config(cfg: CfgNode) -> VideoResults:
    """The part that MODEL.MASK_FORMER.TEST.TASK names. Raises: ConfigError for another task."""
    task = cfg.MODEL.MASK_FORMER.TEST.TASK
    if task not in _TASKS:
        raise ConfigError(f"MODEL.MASK_FORMER.TEST.TASK: unknown {task!r}.{nearest(task, list(_TASKS))}")
    return _TASKS[task](cfg)  # type: ignore[no-any-return]
