"""Scores of result files against ground truth; no model is needed.

``video_instances``    AP of video instance segmentation: ``evaluate_video_instances`` (start here)
``average_precision``  COCO's protocol: matching, precision at recall points
``tube_iou``           spatio-temporal IoU of tracks
``command``            the command line ``tools/evaluate.py``

Functions are imported when first used, so that ``import dense.evaluation`` stays light.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dense.evaluation.video_instances import evaluate_video_instances

__all__ = ["evaluate_video_instances"]

_WHERE = {"evaluate_video_instances": "dense.evaluation.video_instances"}


def __getattr__(name: str) -> Any:  # noqa: ANN401  a module attribute can be anything
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'dense.evaluation' has no attribute {name!r}")
