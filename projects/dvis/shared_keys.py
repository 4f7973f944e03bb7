"""Configuration that tracker and refiner read alike."""

from typing import Any

from detectron2.config import CfgNode

from dense.layers import LayerSettings

__all__ = ["temporal_arguments"]


def temporal_arguments(cfg: CfgNode, layers: int) -> dict[str, Any]:
    """Arguments ``width``, ``mask_width``, ``num_classes`` and ``layers``.

    Reads MODEL.MASK_FORMER.{HIDDEN_DIM, REID_BRANCH, NHEADS, DIM_FEEDFORWARD} and MODEL.SEM_SEG_HEAD.{NUM_CLASSES, MASK_DIM};
    with REID_BRANCH the embeddings are twice as wide.
    """
    keys, head = cfg.MODEL.MASK_FORMER, cfg.MODEL.SEM_SEG_HEAD
    return {
        "width": keys.HIDDEN_DIM * (2 if keys.REID_BRANCH else 1),
        "mask_width": head.MASK_DIM,
        "num_classes": head.NUM_CLASSES,
        "layers": LayerSettings(layers, keys.NHEADS, keys.DIM_FEEDFORWARD),
    }
