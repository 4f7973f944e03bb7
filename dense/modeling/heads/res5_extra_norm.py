"""RoI head of C4 detectors on pretrained backbones: one more norm after the last stage (MoCo's recipe, used by PixPro)."""

from detectron2.config import CfgNode
from detectron2.layers import get_norm
from detectron2.modeling import ROI_HEADS_REGISTRY
from detectron2.modeling.roi_heads import Res5ROIHeads
from torch import nn

__all__ = ["Res5ROIHeadsExtraNorm"]


@ROI_HEADS_REGISTRY.register()
class Res5ROIHeadsExtraNorm(Res5ROIHeads):
    """Detectron2's ``Res5ROIHeads`` with MODEL.RESNETS.NORM after the block: ``roi_heads.res5.norm``, weight 1 and bias 0."""

    @classmethod
    def _build_res5_block(cls, cfg: CfgNode) -> tuple[nn.Sequential, int]:
        block, channels = super()._build_res5_block(cfg)
        block.add_module("norm", get_norm(cfg.MODEL.RESNETS.NORM, channels))
        return block, channels
