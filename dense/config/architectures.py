"""What the code outside a model must know of its architecture: where its number of classes stands, whether it is a detector."""

from operator import attrgetter
from typing import Any

__all__ = ["DETECTORS", "class_count", "class_key", "is_detector", "needs_masks"]

DETECTORS: dict[str, str] = {
    "GeneralizedRCNN": "MODEL.ROI_HEADS.NUM_CLASSES",
    "RetinaNet": "MODEL.RETINANET.NUM_CLASSES",
    "FCOSDetector": "MODEL.FCOS.NUM_CLASSES",
}
"""MODEL.META_ARCHITECTURE of every detector → the key of its number of classes; a project may add its own."""

_SEGMENTERS = "MODEL.SEM_SEG_HEAD.NUM_CLASSES"


def is_detector(cfg: Any) -> bool:  # noqa: ANN401  Detectron2 is not imported here
    """Whether the model learns from boxes (and masks) of single images as Detectron2's detectors do."""
    return cfg.MODEL.META_ARCHITECTURE in DETECTORS


def needs_masks(cfg: Any) -> bool:  # noqa: ANN401
    """Whether objects without a mask are of no use: to all but detectors without MODEL.MASK_ON."""
    return not is_detector(cfg) or bool(cfg.MODEL.MASK_ON)


def class_key(cfg: Any) -> str:  # noqa: ANN401
    """The dotted key of the model's number of classes."""
    return DETECTORS.get(cfg.MODEL.META_ARCHITECTURE, _SEGMENTERS)


def class_count(cfg: Any) -> int:  # noqa: ANN401
    """The model's number of classes."""
    return int(attrgetter(class_key(cfg))(cfg))
