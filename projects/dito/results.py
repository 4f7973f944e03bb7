"""Detections on the canvas → Detectron2's ``Instances`` at the picture's own size, with pasted masks."""

from typing import Any

from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, Instances
from torch import Tensor

from dense.projects.dito.fusion import Detections

__all__ = ["as_instances"]


def as_instances(found: Detections, masks: Tensor | None, size: tuple[int, int], record: dict[str, Any]) -> Instances:
    """Scale boxes, clip them to the picture, paste masks with threshold 0.5; boxes without area in the picture are left out.

    Args:
        found: in pixels of the canvas.
        masks: ``(N, 28, 28)`` probabilities, or ``None``.
        size: (height, width) of the picture on the canvas, pixels.
        record: ``height`` and ``width`` that results shall have; without them ``size``.
    """
    instances = Instances(size)
    instances.pred_boxes = Boxes(found.boxes)
    instances.scores = found.scores
    instances.pred_classes = found.classes
    if masks is not None:
        instances.pred_masks = masks[:, None]
    return detector_postprocess(instances, int(record.get("height", size[0])), int(record.get("width", size[1])))
