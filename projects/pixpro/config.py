"""Configuration keys of pixel-level pretraining (PixPro); values are those of the official scripts unless said."""

import math

from detectron2.config import CfgNode

from dense.config.checks import Range, check_choice, check_ranges
from dense.errors import ConfigError
from dense.projects.pixpro.instance import instance_node

__all__ = ["PARTS", "add_config", "check_config"]

PARTS = ("backbone", "fpn", "head")

_RANGES: dict[str, Range] = {
    "PRETRAIN.PIXEL_WEIGHT": (0, math.inf),
    "PRETRAIN.PROJECTOR_HIDDEN": (1, math.inf),
    "PRETRAIN.PROJECTOR_OUT": (1, math.inf),
    "PRETRAIN.TRANSFORM_LAYERS": (0, 2),
    "PRETRAIN.CLAMP": (0, 1),
    "PRETRAIN.MOMENTUM": (0, 1),
    "PRETRAIN.MOMENTUM_STEPS": (0, math.inf),
    "PRETRAIN.BLOCK": (1, math.inf),
    "PRETRAIN.TOWER_CONVS": (1, math.inf),
    "PRETRAIN.COLLAPSE_REPORTS": (1, math.inf),
    "PRETRAIN.INSTANCE.WEIGHT": (0, math.inf),
}
_POSITIVE = ("SHARPNESS", "POSITIVE_THRESHOLD", "TEMPERATURE")


def add_config(cfg: CfgNode) -> None:
    """Add the keys to ``cfg`` in place."""
    node = cfg.PRETRAIN = CfgNode()
    node.PARTS = "backbone"  # what is pretrained: backbone; fpn (backbone and pyramid); head (and FCOS-style towers)
    node.FEATURE = ""  # output of the backbone that is compared, with PARTS backbone; "" = the one of the greatest stride
    node.LEVELS = []  # levels of the pyramid that are compared, with PARTS fpn and head; [] = those of p3 to p6 (paper)
    node.TOWER_CONVS = 3  # 3x3 convolutions of each tower, with PARTS head; the paper leaves out the fourth of FCOS
    node.TOWER_NORM = "GN"  # or "": norm of the towers; that of the detector to come
    node.OBJECTIVE = "PixelPropagation"  # or PixelContrast, PixelConsistency (no propagation: collapses), none
    node.PIXEL_WEIGHT = 1.0  # of the pixel loss; 0 = none
    node.PROJECTOR_HIDDEN = 4096  # channels; the paper says 2048
    node.PROJECTOR_OUT = 256  # channels
    node.TRANSFORM_LAYERS = 1  # 1x1 convolutions of the propagation's transform: 0, 1 (best in the paper) or 2
    node.SHARPNESS = 2.0  # exponent of the similarity (paper: 2)
    node.CLAMP = 0.0  # least similarity
    node.POSITIVE_THRESHOLD = 0.7  # positions closer than this many bin diagonals are a positive pair (paper: 0.7)
    node.TEMPERATURE = 0.3  # of PixelContrast (paper: 0.3)
    node.MOMENTUM = 0.99  # of the momentum copy at the first step; 1 at the last, on a cosine
    node.MOMENTUM_STEPS = 0  # steps until it is 1; 0 = SOLVER.MAX_ITER; SOLVER.EPOCHS sets the official number
    node.NORM = "SyncBN"  # or BN: norm of projectors and predictor
    node.SYNC_TRANSFORM = True  # that norm in a transform of two layers too; the official code leaves it to each process
    node.ZERO_INIT_RESIDUAL = True  # blocks of a ResNet begin as the identity
    node.CHANNELS_LAST = True  # memory layout of images and feature maps: faster convolutions, same numbers
    node.BLOCK = 1024  # query positions of a map handled together by loss and propagation; memory is BLOCK x positions
    node.COLLAPSE_REPORTS = 100  # so many logged steps in a row with constant features are said to be a collapse

    # A loss on whole views beside the pixel loss, or instead of it (OBJECTIVE none). NAME: "" = none; InstanceConsistency
    # (official), or an entry of OBJECTIVES, whose keys are here too. WEIGHT: alpha; official scripts 0, combined models 1.
    node.INSTANCE = instance_node()


def check_config(cfg: CfgNode) -> None:
    """Compare PRETRAIN.* with what the model can do. Raises: ConfigError naming the key."""
    check_ranges(cfg, _RANGES)
    keys = cfg.PRETRAIN
    for name in _POSITIVE:
        if not 0 < keys[name] < math.inf:
            raise ConfigError(f"PRETRAIN.{name}: {keys[name]}, expected a number above 0.")
    check_choice("PRETRAIN.PARTS", keys.PARTS, PARTS)
    check_choice("PRETRAIN.NORM", keys.NORM, ("SyncBN", "BN"))
    check_choice("PRETRAIN.TOWER_NORM", keys.TOWER_NORM, ("GN", ""))
    with_pixels = keys.OBJECTIVE != "none" and keys.PIXEL_WEIGHT > 0
    if not with_pixels and not (keys.INSTANCE.NAME and keys.INSTANCE.WEIGHT > 0):
        raise ConfigError(
            "PRETRAIN: neither a pixel loss (OBJECTIVE, PIXEL_WEIGHT) nor one of instances (INSTANCE.NAME, INSTANCE.WEIGHT) is"
            " on. Set one of them."
        )
