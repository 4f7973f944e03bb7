"""FCOS from a configuration: Detectron2 has the model, but neither keys for it nor an entry in its registry."""

from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, build_backbone
from detectron2.modeling.meta_arch.fcos import FCOS, FCOSHead

__all__ = ["FCOSDetector"]


@META_ARCH_REGISTRY.register()
class FCOSDetector(FCOS):
    """Detectron2's FCOS, built from MODEL.FCOS.*; towers are ``head.cls_subnet`` and ``head.bbox_subnet``."""

    @configurable
    def __init__(self, **parts: Any) -> None:  # noqa: ANN401  those of FCOS
        super().__init__(**parts)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Read MODEL.FCOS.*, PIXEL_* and TEST.DETECTIONS_PER_IMAGE."""
        keys = cfg.MODEL.FCOS
        backbone = build_backbone(cfg)
        shapes = backbone.output_shape()
        channels = shapes[keys.IN_FEATURES[0]].channels
        head = FCOSHead(
            input_shape=[shapes[name] for name in keys.IN_FEATURES],
            num_classes=keys.NUM_CLASSES,
            conv_dims=[channels] * keys.NUM_CONVS,
            prior_prob=keys.PRIOR_PROB,
            norm=keys.NORM,
        )
        return {
            "backbone": backbone,
            "head": head,
            "head_in_features": list(keys.IN_FEATURES),
            "num_classes": keys.NUM_CLASSES,
            "center_sampling_radius": keys.CENTER_SAMPLING_RADIUS,
            "focal_loss_alpha": keys.FOCAL_LOSS_ALPHA,
            "focal_loss_gamma": keys.FOCAL_LOSS_GAMMA,
            "test_score_thresh": keys.SCORE_THRESH_TEST,
            "test_topk_candidates": keys.TOPK_CANDIDATES_TEST,
            "test_nms_thresh": keys.NMS_THRESH_TEST,
            "max_detections_per_image": cfg.TEST.DETECTIONS_PER_IMAGE,
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
        }
