"""Segmenter head: backbone features → pixel decoder → mask decoder (Mask2Former, figure 2)."""

from collections.abc import Mapping
from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from torch import Tensor, nn

from dense.errors import ConfigError
from dense.modeling.predictions import DecoderOutput
from dense.modeling.registries import MASK_DECODERS, PIXEL_DECODERS

__all__ = ["SegmenterHead"]


@SEM_SEG_HEADS_REGISTRY.register()
class SegmenterHead(nn.Module):
    """Holds exactly two parts, ``pixel_decoder`` and ``predictor`` (the names of the official checkpoints)."""

    @configurable
    def __init__(self, *, pixel_decoder: nn.Module, predictor: nn.Module) -> None:
        super().__init__()
        self.pixel_decoder = pixel_decoder
        self.predictor = predictor

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: Mapping[str, ShapeSpec]) -> dict[str, Any]:
        """Read MODEL.SEM_SEG_HEAD.PIXEL_DECODER_NAME, MODEL.MASK_FORMER.TRANSFORMER_{DECODER_NAME, IN_FEATURE}."""
        feature = cfg.MODEL.MASK_FORMER.TRANSFORMER_IN_FEATURE
        if feature != "multi_scale_pixel_decoder":
            raise ConfigError(
                f"MODEL.MASK_FORMER.TRANSFORMER_IN_FEATURE: {feature!r}, expected 'multi_scale_pixel_decoder'"
                " (other values belong to the older MaskFormer)."
            )
        decoder = MASK_DECODERS.get(cfg.MODEL.MASK_FORMER.TRANSFORMER_DECODER_NAME)
        return {
            "pixel_decoder": PIXEL_DECODERS.get(cfg.MODEL.SEM_SEG_HEAD.PIXEL_DECODER_NAME)(cfg, input_shape),
            "predictor": decoder(cfg, cfg.MODEL.SEM_SEG_HEAD.CONVS_DIM),
        }

    def forward(self, features: Mapping[str, Tensor]) -> DecoderOutput:
        """``name → (B, C, h, w)`` to predictions."""
        mask_features, levels = self.pixel_decoder(features)
        return self.predictor(levels, mask_features)  # type: ignore[no-any-return]
