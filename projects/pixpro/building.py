"""From PRETRAIN.* and MODEL.* to the parts of ``PixelPretrainer``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from detectron2.config import CfgNode
from detectron2.modeling import Backbone, build_backbone
from detectron2.modeling.backbone.resnet import BasicBlock, BottleneckBlock
from torch import nn

from dense.errors import ConfigError
from dense.projects.pixpro.config import check_config
from dense.projects.pixpro.heads import Towers, freeze_unused, pyramid_levels
from dense.projects.pixpro.instance import InstanceConsistency, RegisteredObjective, build_instance_objective
from dense.projects.pixpro.losses import PIXEL_OBJECTIVES, PixelLoss
from dense.projects.pixpro.projector import Projector
from dense.projects.pixpro.propagation import Propagation, value_transform
from dense.projects.pixpro.two_views import ViewNormalizer

__all__ = ["Encoder", "InstanceBranch", "PixelBranch", "pretrainer_parts", "zero_init_residual"]

_PROPAGATING = "PixelPropagation"
_NORMS: dict[str, Callable[[int], nn.Module]] = {"SyncBN": nn.SyncBatchNorm, "BN": nn.BatchNorm2d}


@dataclass(frozen=True)
class Encoder:
    """Backbone, the outputs of it that are compared, and the towers over them (``None`` = none)."""

    backbone: Backbone
    features: Sequence[str]
    tower: Towers | None = None


@dataclass(frozen=True)
class PixelBranch:
    """The pixel loss.

    Attributes:
        projector: on every compared map.
        propagation: on the online side, ``None`` = the projections themselves.
        loss: of one direction.
        weight: of the sum of both directions.
        threshold: T, bin diagonals.
        block: query positions handled together.
    """

    projector: nn.Module
    propagation: nn.Module | None
    loss: PixelLoss
    weight: float = 1.0
    threshold: float = 0.7
    block: int = 1024


@dataclass(frozen=True)
class InstanceBranch:
    """The loss on whole views: projector on the last compared map, predictor on the online side (``None`` = none), weight."""

    projector: nn.Module
    predictor: nn.Module | None
    objective: InstanceConsistency | RegisteredObjective
    weight: float = 1.0


def pretrainer_parts(cfg: CfgNode) -> dict[str, Any]:
    """Constructor arguments of ``PixelPretrainer``.

    Raises: ConfigError naming the key whose value does not go.
    """
    check_config(cfg)
    keys = cfg.PRETRAIN
    encoder, channels = _encoder(cfg)
    norm = _NORMS[keys.NORM]
    return {
        "encoder": encoder,
        "pixel": _pixel_branch(keys, channels, norm),
        "instance": _instance_branch(cfg, channels, norm),
        "normalizer": ViewNormalizer(cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD, channels_last=keys.CHANNELS_LAST),
        "momentum": (keys.MOMENTUM, keys.MOMENTUM_STEPS or cfg.SOLVER.MAX_ITER),
        "patience": keys.COLLAPSE_REPORTS,
    }


def _encoder(cfg: CfgNode) -> tuple[Encoder, int]:
    """The encoder and the channels of its maps."""
    keys = cfg.PRETRAIN
    backbone = build_backbone(cfg)
    if keys.ZERO_INIT_RESIDUAL:
        zero_init_residual(backbone)
    if keys.NORM == "SyncBN" and cfg.MODEL.BACKBONE.NAME == "TimmBackbone":
        from timm.layers import convert_sync_batchnorm  # heavy; only who uses it pays

        backbone = convert_sync_batchnorm(backbone)
    shapes = backbone.output_shape()
    if keys.PARTS == "backbone":
        features = [keys.FEATURE or max(shapes, key=lambda name: shapes[name].stride)]
        if features[0] not in shapes:
            raise ConfigError(f"PRETRAIN.FEATURE: the backbone has {', '.join(shapes)}, not {features[0]!r}.")
    else:
        features = pyramid_levels(backbone, keys.LEVELS)
        freeze_unused(backbone, features)
    channels = shapes[features[0]].channels
    if keys.PARTS != "head":
        return Encoder(backbone, features), channels
    if keys.TOWER_NORM == "GN" and channels % 32:
        raise ConfigError(f"MODEL.FPN.OUT_CHANNELS: {channels}, towers with GN expect a multiple of 32.")
    return Encoder(backbone, features, Towers(channels, keys.TOWER_CONVS, keys.TOWER_NORM)), channels


def _pixel_branch(keys: CfgNode, channels: int, norm: Callable[[int], nn.Module]) -> PixelBranch | None:
    if keys.OBJECTIVE == "none" or keys.PIXEL_WEIGHT == 0:
        return None
    loss = PIXEL_OBJECTIVES.get(keys.OBJECTIVE)(temperature=keys.TEMPERATURE, block=keys.BLOCK)
    projector, propagation = Projector(channels, keys.PROJECTOR_HIDDEN, keys.PROJECTOR_OUT, norm), None
    if keys.OBJECTIVE == _PROPAGATING:
        inner = norm if keys.SYNC_TRANSFORM else nn.BatchNorm2d
        transform = value_transform(keys.PROJECTOR_OUT, keys.TRANSFORM_LAYERS, inner)
        propagation = Propagation(transform, keys.SHARPNESS, keys.CLAMP, keys.BLOCK)
    return PixelBranch(projector, propagation, loss, keys.PIXEL_WEIGHT, keys.POSITIVE_THRESHOLD, keys.BLOCK)


def _instance_branch(cfg: CfgNode, channels: int, norm: Callable[[int], nn.Module]) -> InstanceBranch | None:
    keys = cfg.PRETRAIN
    if not keys.INSTANCE.NAME or keys.INSTANCE.WEIGHT == 0:
        return None
    objective = build_instance_objective(cfg)
    projector = Projector(channels, keys.PROJECTOR_HIDDEN, keys.PROJECTOR_OUT, norm)
    predictor = None
    if objective.against_target:
        predictor = Projector(keys.PROJECTOR_OUT, keys.PROJECTOR_HIDDEN, keys.PROJECTOR_OUT, norm)
    return InstanceBranch(projector, predictor, objective, keys.INSTANCE.WEIGHT)


def zero_init_residual(backbone: nn.Module) -> None:
    """Set the scale of the last norm of every block of a Detectron2 ResNet to 0 (timm's ResNets begin so by themselves)."""
    for block in backbone.modules():
        last = block.conv3 if isinstance(block, BottleneckBlock) else block.conv2 if isinstance(block, BasicBlock) else None
        if last is not None and isinstance(getattr(last.norm, "weight", None), nn.Parameter):
            nn.init.zeros_(last.norm.weight)
