"""From MODEL.DITO.* to the parts of ``ImageTextPretrainer``."""

from dataclasses import dataclass
from typing import Any

from detectron2.config import CfgNode
from torch import nn

from dense.errors import ConfigError
from dense.modeling.objectives import Objective, build_objective
from dense.projects.dito.building import build_box_head, build_pyramid, build_transformer, transformer_width
from dense.projects.dito.config_text import check_text_config
from dense.projects.dito.pyramid import LEVELS
from dense.projects.dito.region_sampler import REGION_SAMPLERS, RandomBoxes, Sampler
from dense.projects.dito.text.encoder import TextEncoder
from dense.projects.dito.text.hard_captions import HardCaptions
from dense.projects.dito.text.tokenizer import load_tokenizer

__all__ = ["RegionBranch", "build_text", "pretraining_parts"]


@dataclass(frozen=True)
class RegionBranch:
    """The second stage.

    Attributes:
        pyramid: map → levels.
        box_head: regions → embeddings.
        objectives: by level; levels may share one.
        sampler: of boxes, with ``boxes`` and how many per image, ``count``.
        pooling: "max" or "mean" over the regions of an image.
        side: cells of a region.
        train_towers: train transformer and text too, and keep the loss on whole images.
    """

    pyramid: nn.Module
    box_head: nn.Module
    objectives: dict[str, Objective]
    sampler: Sampler
    boxes: RandomBoxes
    count: int = 16
    pooling: str = "max"
    side: int = 7
    train_towers: bool = False


def build_text(cfg: CfgNode) -> nn.Module:
    """The text tower that MODEL.DITO.TEXT describes, of the transformer's width.

    Raises: ConfigError naming the key whose value does not go, DataError for an unreadable tokenizer, DependencyError.
    """
    keys, width = cfg.MODEL.DITO.TEXT, transformer_width(cfg)
    check_text_config(cfg)
    if keys.TOWER == "open_clip":
        from dense.projects.dito.text.open_clip_tower import OpenClipText

        tower = OpenClipText(keys.OPEN_CLIP.NAME, keys.OPEN_CLIP.WEIGHTS)
        if tower.width != width:
            raise ConfigError(
                f"MODEL.DITO.TEXT.OPEN_CLIP.NAME: {keys.OPEN_CLIP.NAME} gives {tower.width} numbers, but images have {width}."
            )
        return tower
    end = keys.POOL == "eos"
    tokenizer = load_tokenizer(keys.TOKENIZER, keys.CONTEXT, end=end) if keys.TOKENIZER else None
    return TextEncoder(
        tokenizer,
        pieces=keys.PIECES,
        context=keys.CONTEXT,
        width=keys.WIDTH,
        depth=keys.DEPTH,
        heads=keys.HEADS,
        embedding=width,
        pool=keys.POOL,
        causal=keys.CAUSAL,
    )


def pretraining_parts(cfg: CfgNode) -> dict[str, Any]:
    """Constructor arguments of ``ImageTextPretrainer``.

    Raises: ConfigError naming the key whose value does not go.
    """
    check_text_config(cfg)
    keys = cfg.MODEL.DITO.PRETRAIN
    boxes = RandomBoxes(keys.AREA, keys.ASPECT)
    objective = build_objective(cfg.MODEL.DITO.OBJECTIVE)
    _check_objective(cfg.MODEL.DITO.OBJECTIVE.NAME, objective)
    takes_hard = "hard" in objective.inputs
    if keys.HARD_CAPTIONS and not takes_hard:
        raise ConfigError(
            f"MODEL.DITO.PRETRAIN.HARD_CAPTIONS: {keys.HARD_CAPTIONS}, but {cfg.MODEL.DITO.OBJECTIVE.NAME} reads none."
            " Use NegCLIP."
        )
    return {
        "backbone": build_transformer(cfg, windows=False),
        "text": build_text(cfg),
        "objective": objective,
        "crops": (boxes, cfg.MODEL.DITO.BACKBONE.CROP_SIDE) if keys.CROP_POSITIONS else None,
        "regions": _regions(cfg, boxes, objective) if keys.STAGE == "region" else None,
        "hard": HardCaptions(keys.SWAP_GROUPS, keys.HARD_CAPTIONS) if keys.HARD_CAPTIONS else None,
    }


def _check_objective(name: str, objective: Objective) -> None:
    """Refuse objectives whose further inputs this model does not make: some would quietly be another loss without them."""
    lacking = objective.inputs - {"captions", "hard", "hard_mask", "hard_ids"}
    if lacking:
        raise ConfigError(
            f"MODEL.DITO.OBJECTIVE.NAME: {name} reads {', '.join(sorted(lacking))}, which this pretraining does not make."
            " Use CLIP, ALIGN, FocalContrastive or NegCLIP."
        )


def _regions(cfg: CfgNode, boxes: RandomBoxes, shared: Objective) -> RegionBranch:
    keys = cfg.MODEL.DITO.PRETRAIN
    objectives = {
        level: build_objective(cfg.MODEL.DITO.OBJECTIVE) if keys.LEVEL_TEMPERATURES else shared for level in keys.LEVELS
    }
    pyramid, box_head = build_pyramid(cfg), build_box_head(cfg)
    # What gets no gradient must not be decayed either, nor waited for by other processes.
    box_head.deltas.requires_grad_(False)
    for level in set(LEVELS) - set(keys.LEVELS):
        getattr(pyramid, level).requires_grad_(False)
    return RegionBranch(
        pyramid,
        box_head,
        objectives,
        REGION_SAMPLERS.get(keys.SAMPLER),
        boxes,
        keys.REGIONS,
        keys.POOLING,
        cfg.MODEL.DITO.HEADS.BOX_SIDE,
        keys.TRAIN_TOWERS,
    )
