"""Scores of result files against ground truth; no model is needed.

``video_instances``    AP of video instance segmentation: ``evaluate_video_instances`` (start here)
``instances``          AP of boxes and masks in images: ``evaluate_instances``
``lvis``               AP with federated annotations: ``evaluate_lvis``, ``evaluate_lvis_fixed``
``open_vocabulary``    AP of base and novel categories: ``evaluate_open_vocabulary``
``panoptic``           panoptic quality: ``evaluate_panoptic``
``semantic``           mean IoU: ``evaluate_semantic``
``average_precision``  COCO's protocol: matching, precision at recall points
``video_panoptic``     VPQ and STQ of video panoptic segmentation: ``evaluate_video_panoptic``
``video_semantic``     mean IoU and consistency of video semantic segmentation: ``evaluate_video_semantic``
``segment_overlaps``   pixels of each pair of segments
``tracking_quality``   STQ
``tube_iou``           spatio-temporal IoU of tracks
``video_errors``       lost AP by kind: ``analyse_video_errors``; ``error_sorting`` defines the kinds, ``error_mending`` costs
``error_page``         the HTML page of an error analysis
``tasks``              the tasks of the command line
``command``            the command line ``tools/evaluate.py``

Functions are imported when first used, so that ``import dense.evaluation`` stays light.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dense.evaluation.instances import evaluate_instances
    from dense.evaluation.lvis import evaluate_lvis, evaluate_lvis_fixed
    from dense.evaluation.open_vocabulary import evaluate_open_vocabulary
    from dense.evaluation.panoptic import evaluate_panoptic
    from dense.evaluation.semantic import evaluate_semantic
    from dense.evaluation.video_errors import analyse_video_errors
    from dense.evaluation.video_instances import evaluate_video_instances
    from dense.evaluation.video_panoptic import evaluate_video_panoptic
    from dense.evaluation.video_semantic import evaluate_video_semantic

__all__ = [
    "analyse_video_errors",
    "evaluate_instances",
    "evaluate_lvis",
    "evaluate_lvis_fixed",
    "evaluate_open_vocabulary",
    "evaluate_panoptic",
    "evaluate_semantic",
    "evaluate_video_instances",
    "evaluate_video_panoptic",
    "evaluate_video_semantic",
]

_WHERE = {
    "analyse_video_errors": "dense.evaluation.video_errors",
    "evaluate_instances": "dense.evaluation.instances",
    "evaluate_lvis": "dense.evaluation.lvis",
    "evaluate_lvis_fixed": "dense.evaluation.lvis",
    "evaluate_open_vocabulary": "dense.evaluation.open_vocabulary",
    "evaluate_panoptic": "dense.evaluation.panoptic",
    "evaluate_semantic": "dense.evaluation.semantic",
    "evaluate_video_instances": "dense.evaluation.video_instances",
    "evaluate_video_panoptic": "dense.evaluation.video_panoptic",
    "evaluate_video_semantic": "dense.evaluation.video_semantic",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  a module attribute can be anything
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'dense.evaluation' has no attribute {name!r}")
