"""From MODEL.DITO.* to transformer, pyramid and heads."""

from detectron2.config import CfgNode

from dense.projects.dito.config import check_vision_config
from dense.projects.dito.heads import BoxHead, MaskHead, ProposalHead
from dense.projects.dito.pyramid import SimplePyramid
from dense.projects.dito.vit import SIZES, VisionTransformer, window_pattern

__all__ = [
    "build_box_head",
    "build_mask_head",
    "build_proposal_head",
    "build_pyramid",
    "build_transformer",
    "transformer_width",
]


def transformer_width(cfg: CfgNode) -> int:
    """Channels of the transformer, which are also those of the embeddings of regions, images and words."""
    check_vision_config(cfg)
    return SIZES[cfg.MODEL.DITO.BACKBONE.SIZE][0]


def build_transformer(cfg: CfgNode, *, windows: bool = True, frozen: bool = False) -> VisionTransformer:
    """The transformer.

    Args:
        cfg: see ``config``.
        windows: with windows and shifted-window learning, as detectors have it; without, as in pretraining.
        frozen: with the keys of the detector's frozen copy; whether parameters learn is not decided here.

    Raises: ConfigError naming the key whose value does not go.
    """
    check_vision_config(cfg)
    keys, swl = cfg.MODEL.DITO.BACKBONE, cfg.MODEL.DITO.SWL
    width, depth, heads = SIZES[keys.SIZE]
    shift = swl.SHIFT_FROZEN if frozen else swl.SHIFT
    pattern = window_pattern(depth, keys.WINDOW_GRID, keys.GLOBAL_BLOCKS_FROZEN if frozen else keys.GLOBAL_BLOCKS)
    return VisionTransformer(
        width,
        depth,
        heads,
        keys.POSITION_GRID,
        pattern if windows else None,
        (None if shift < 0 else shift) if windows else 0,
        together=swl.TOGETHER,
        crop_side=keys.CROP_SIDE,
        drop_path=0.0 if frozen else keys.DROP_PATH,
        checkpointing=keys.CHECKPOINTING and not frozen,
    )


def build_pyramid(cfg: CfgNode) -> SimplePyramid:
    """The pyramid. Raises: ConfigError naming the key whose value does not go."""
    return SimplePyramid(transformer_width(cfg), cfg.MODEL.DITO.HEADS.CHANNELS)


def build_proposal_head(cfg: CfgNode) -> ProposalHead:
    """The proposal head. Raises: ConfigError naming the key whose value does not go."""
    check_vision_config(cfg)
    return ProposalHead(cfg.MODEL.DITO.HEADS.CHANNELS, convs=cfg.MODEL.DITO.HEADS.PROPOSAL_CONVS)


def build_box_head(cfg: CfgNode) -> BoxHead:
    """The box head. Raises: ConfigError naming the key whose value does not go."""
    keys = cfg.MODEL.DITO.HEADS
    return BoxHead(keys.CHANNELS, keys.HIDDEN, transformer_width(cfg), keys.BOX_SIDE, keys.BOX_CONVS)


def build_mask_head(cfg: CfgNode) -> MaskHead:
    """The mask head. Raises: ConfigError naming the key whose value does not go."""
    check_vision_config(cfg)
    return MaskHead(cfg.MODEL.DITO.HEADS.CHANNELS, cfg.MODEL.DITO.HEADS.MASK_CONVS)
