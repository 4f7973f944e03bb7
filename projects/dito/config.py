"""Configuration keys of DITO; values are the published ones for ViT-B/16 unless said."""

import math

from detectron2.config import CfgNode

from dense.config.checks import Range, check_choice, check_ranges
from dense.errors import ConfigError
from dense.projects.dito.config_detection import add_detection_config
from dense.projects.dito.config_text import add_text_config
from dense.projects.dito.vit import SIZES

__all__ = ["add_config", "check_vision_config"]

_RANGES: dict[str, Range] = {
    "MODEL.DITO.BACKBONE.POSITION_GRID": (1, math.inf),
    "MODEL.DITO.BACKBONE.CROP_SIDE": (1, math.inf),
    "MODEL.DITO.BACKBONE.WINDOW_GRID": (0, math.inf),
    "MODEL.DITO.BACKBONE.GLOBAL_BLOCKS": (0, math.inf),
    "MODEL.DITO.BACKBONE.GLOBAL_BLOCKS_FROZEN": (0, math.inf),
    "MODEL.DITO.BACKBONE.DROP_PATH": (0, 0.999),
    "MODEL.DITO.SWL.SHIFT": (-1, math.inf),
    "MODEL.DITO.SWL.SHIFT_FROZEN": (-1, math.inf),
    "MODEL.DITO.HEADS.CHANNELS": (1, math.inf),
    "MODEL.DITO.HEADS.HIDDEN": (1, math.inf),
    "MODEL.DITO.HEADS.PROPOSAL_CONVS": (1, math.inf),
    "MODEL.DITO.HEADS.BOX_CONVS": (0, math.inf),
    "MODEL.DITO.HEADS.MASK_CONVS": (0, math.inf),
    "MODEL.DITO.HEADS.BOX_SIDE": (1, math.inf),
}


def add_config(cfg: CfgNode) -> None:
    """Add the keys to ``cfg`` in place."""
    cfg.MODEL.DITO = CfgNode()
    _add_vision(cfg.MODEL.DITO)
    add_text_config(cfg.MODEL.DITO)
    add_detection_config(cfg)


def _add_vision(dito: CfgNode) -> None:
    """Transformer, shifted-window learning, pyramid and heads."""
    backbone = dito.BACKBONE = CfgNode()
    backbone.SIZE = "base"  # tiny (the world's), base, large, huge; the text embeddings have the same width
    backbone.POSITION_GRID = 14  # side of the table of positions, patches of 16 pixels: that of the pretraining image (224)
    backbone.CROP_SIDE = 64  # grid to which positions are enlarged before they are cropped: that of the detection image (1024)
    backbone.WINDOW_GRID = 4  # rows and columns of windows in the detector; 0 = attention over the whole map in every block
    backbone.GLOBAL_BLOCKS = 4  # blocks that are global nevertheless, each the last of an equal part of the depth
    backbone.GLOBAL_BLOCKS_FROZEN = 1  # the same in the frozen transformer: the last block
    backbone.DROP_PATH = 0.0  # rate of the last block, growing linearly from 0
    backbone.CHECKPOINTING = False  # training keeps inputs of blocks only and computes the rest again; less memory, slower

    swl = dito.SWL = CfgNode()
    swl.SHIFT = -1  # tokens by which the second pass is rolled; -1 = half a window (8 at 1024 px), 0 = no second pass
    swl.SHIFT_FROZEN = -1  # the same in the frozen transformer
    swl.TOGETHER = False  # both passes as one batch; twice the memory of activations at inference

    heads = dito.HEADS = CfgNode()
    heads.CHANNELS = 256  # of pyramid and convolutions
    heads.HIDDEN = 1024  # features of the box head's linear layer
    heads.PROPOSAL_CONVS = 2  # convolutions of the proposal head
    heads.BOX_CONVS = 4  # convolutions of the box head
    heads.MASK_CONVS = 4  # convolutions of the mask head
    heads.BOX_SIDE = 7  # cells of a region that the box head reads


def check_vision_config(cfg: CfgNode) -> None:
    """Compare the keys of transformer, pyramid and heads with what they can do. Raises: ConfigError naming the key."""
    check_ranges(cfg, _RANGES)
    backbone = cfg.MODEL.DITO.BACKBONE
    depth = SIZES[check_choice("MODEL.DITO.BACKBONE.SIZE", backbone.SIZE, list(SIZES))][1]
    for name in ("GLOBAL_BLOCKS", "GLOBAL_BLOCKS_FROZEN"):
        count = backbone[name]
        if count and depth % count:
            raise ConfigError(
                f"MODEL.DITO.BACKBONE.{name}: {count}, expected 0 or a divisor of {depth}, the blocks of the size."
            )
