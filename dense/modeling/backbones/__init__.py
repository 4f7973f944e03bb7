"""Backbones beyond Detectron2's own (ResNet).

``timm_backbone``  any timm model with feature maps, through one adapter
"""

from dense.modeling.backbones.timm_backbone import TimmBackbone

__all__ = ["TimmBackbone"]
