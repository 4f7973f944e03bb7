"""Configuration keys of text side and pretraining of DITO; values are the published ones for ViT-B/16, or its [D] choices."""

import math

from detectron2.config import CfgNode

from dense.config.checks import Range, check_choice, check_ranges
from dense.errors import ConfigError
from dense.modeling.objectives import objective_node
from dense.projects.dito.pyramid import LEVELS

__all__ = ["STAGES", "add_text_config", "check_text_config"]

STAGES = ("image", "region")
_POOLS = ("max", "mean")
_RANGES: dict[str, Range] = {
    "MODEL.DITO.TEXT.PIECES": (1, math.inf),
    "MODEL.DITO.TEXT.CONTEXT": (2, math.inf),
    "MODEL.DITO.TEXT.DEPTH": (1, math.inf),
    "MODEL.DITO.PRETRAIN.REGIONS": (1, math.inf),
    "MODEL.DITO.PRETRAIN.HARD_CAPTIONS": (0, math.inf),
}


def add_text_config(dito: CfgNode) -> None:
    """Add the keys to ``cfg.MODEL.DITO`` in place."""
    text = dito.TEXT = CfgNode()
    text.TOWER = "own"  # or open_clip
    text.TOKENIZER = ""  # SentencePiece .model, or tokenizer.json (tools/train_tokenizer.py makes a small one)
    text.PIECES = 64000  # rows of the table of pieces, as many as the tokenizer has or more
    text.CONTEXT = 64  # most pieces of a text; the rest of a caption is cut off
    text.WIDTH, text.DEPTH, text.HEADS = 512, 12, 8  # with ViT-L: 768, 12, 12
    text.POOL = "mean"  # over pieces; "last" = the last piece, "eos" = the end sign
    text.CAUSAL = False  # pieces attend to earlier ones only
    text.TEMPLATES = "imagenet"  # sentences around a word: imagenet (80), tiny (4), world (4), word (the word alone)
    text.CACHE = ""  # folder where embeddings of words are kept; "" = none
    text.OPEN_CLIP = CfgNode({"NAME": "ViT-B-16", "WEIGHTS": ""})  # open_clip's model and a local file, with TOWER open_clip

    pretrain = dito.PRETRAIN = CfgNode()
    pretrain.STAGE = "image"  # pooled image against caption; "region" = pooled regions of each level against caption
    pretrain.CROP_POSITIONS = True  # each image gets a random part of the enlarged table of positions
    pretrain.AREA, pretrain.ASPECT = (0.1, 1.0), (0.5, 2.0)  # of these parts and of regions: share; width / height
    pretrain.SAMPLER = "random_only_boxes"  # regions; or random_and_full_boxes, grid_boxes
    pretrain.REGIONS = 16  # per image, the same on all levels
    pretrain.LEVELS = list(LEVELS)  # that have a loss
    pretrain.POOLING = "max"  # of the regions' embeddings, or mean
    pretrain.LEVEL_TEMPERATURES = False  # each level learns its own
    pretrain.TRAIN_TOWERS = False  # in the stage of regions, also train transformer and text; adds the loss of the first stage
    pretrain.HARD_CAPTIONS = 0  # false versions of each caption, with words swapped, for NegCLIP
    pretrain.SWAP_GROUPS = []  # lists of words that may be swapped
    dito.OBJECTIVE = objective_node("CLIP")  # or FocalContrastive, NegCLIP
    dito.OBJECTIVE.TEMPERATURE, dito.OBJECTIVE.LEARN_TEMPERATURE = 0.07, True


def check_text_config(cfg: CfgNode) -> None:
    """Compare the keys with what the parts can do. Raises: ConfigError naming the key."""
    check_ranges(cfg, _RANGES)
    keys = cfg.MODEL.DITO.PRETRAIN
    check_choice("MODEL.DITO.PRETRAIN.STAGE", keys.STAGE, STAGES)
    check_choice("MODEL.DITO.PRETRAIN.POOLING", keys.POOLING, _POOLS)
    check_choice("MODEL.DITO.TEXT.TOWER", cfg.MODEL.DITO.TEXT.TOWER, ("own", "open_clip"))
    if not keys.LEVELS:
        raise ConfigError("MODEL.DITO.PRETRAIN.LEVELS: empty, expected one or more of p2 to p5.")
    for level in keys.LEVELS:
        check_choice("MODEL.DITO.PRETRAIN.LEVELS", level, list(LEVELS))
