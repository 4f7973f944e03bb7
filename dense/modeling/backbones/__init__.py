"""Backbones beyond Detectron2's own (ResNet).

``narrow_resnet``       ResNet-18 and -34 of any width, alone and below a feature pyramid
``swin``                Swin Transformer under the official names
``timm_backbone``       any timm model with feature maps, through one adapter
``vision_transformer``  plain vision transformer with DINOv2's sizes and names; a trunk, not a backbone by itself
``vit_adapter``         DINOv2 with an adapter that gives four maps; its parts are in ``adapter_parts``
"""

from dense.modeling.backbones.narrow_resnet import build_narrow_resnet_backbone, build_narrow_resnet_fpn_backbone
from dense.modeling.backbones.swin import SwinBackbone
from dense.modeling.backbones.timm_backbone import TimmBackbone
from dense.modeling.backbones.vision_transformer import DINOV2_SIZES, TransformerSize, VisionTransformer
from dense.modeling.backbones.vit_adapter import ViTAdapterBackbone

__all__ = [
    "DINOV2_SIZES",
    "SwinBackbone",
    "TimmBackbone",
    "TransformerSize",
    "ViTAdapterBackbone",
    "VisionTransformer",
    "build_narrow_resnet_backbone",
    "build_narrow_resnet_fpn_backbone",
]
