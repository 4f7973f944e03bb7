"""Backbones beyond Detectron2's own (ResNet).

``swin``           Swin Transformer under the official names
``timm_backbone``  any timm model with feature maps, through one adapter
"""

from dense.modeling.backbones.swin import SwinBackbone
from dense.modeling.backbones.timm_backbone import TimmBackbone

__all__ = ["SwinBackbone", "TimmBackbone"]
