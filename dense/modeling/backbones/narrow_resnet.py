"""ResNet-18 and -34 of any width: Detectron2 builds those depths with 64 channels only. Names of tensors are Detectron2's."""

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from detectron2.modeling.backbone import FPN
from detectron2.modeling.backbone.fpn import LastLevelMaxPool
from detectron2.modeling.backbone.resnet import BasicBlock, BasicStem, ResNet

from dense.errors import ConfigError

__all__ = ["build_narrow_resnet_backbone", "build_narrow_resnet_fpn_backbone"]

_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}


@BACKBONE_REGISTRY.register()
def build_narrow_resnet_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> ResNet:
    """ResNet of basic blocks: MODEL.RESNETS.{DEPTH, STEM_OUT_CHANNELS, RES2_OUT_CHANNELS, NORM, OUT_FEATURES}.

    Stages after the last of OUT_FEATURES are not built. Raises: ConfigError for another depth.
    """
    keys = cfg.MODEL.RESNETS
    if keys.DEPTH not in _BLOCKS:
        raise ConfigError(f"MODEL.RESNETS.DEPTH: {keys.DEPTH}, expected 18 or 34 for {cfg.MODEL.BACKBONE.NAME}.")
    stem = BasicStem(in_channels=input_shape.channels, out_channels=keys.STEM_OUT_CHANNELS, norm=keys.NORM)
    channels, stages = keys.STEM_OUT_CHANNELS, []
    last = max((int(name[-1]) for name in keys.OUT_FEATURES if name[-1].isdigit()), default=2)
    for place, count in enumerate(_BLOCKS[keys.DEPTH][: last - 1]):
        width = keys.RES2_OUT_CHANNELS * 2**place
        strides = [1 if place == 0 else 2, *[1] * (count - 1)]
        stages.append(
            ResNet.make_stage(
                BasicBlock, count, stride_per_block=strides, in_channels=channels, out_channels=width, norm=keys.NORM
            )
        )
        channels = width
    return ResNet(stem, stages, out_features=list(keys.OUT_FEATURES), freeze_at=cfg.MODEL.BACKBONE.FREEZE_AT)


@BACKBONE_REGISTRY.register()
def build_narrow_resnet_fpn_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> FPN:
    """The same below Detectron2's feature pyramid (MODEL.FPN.*), with one more level by pooling the last one."""
    pool = LastLevelMaxPool()
    pool.in_feature = cfg.MODEL.FPN.IN_FEATURES[-1].replace("res", "p")  # Detectron2 takes p5 for the last
    return FPN(
        bottom_up=build_narrow_resnet_backbone(cfg, input_shape),
        in_features=cfg.MODEL.FPN.IN_FEATURES,
        out_channels=cfg.MODEL.FPN.OUT_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
        top_block=pool,
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
    )
