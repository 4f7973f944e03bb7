"""What of a detector is pretrained beside the backbone: levels of its pyramid, towers of its head (spec, section 12)."""

import re
from collections.abc import Sequence

from detectron2.modeling import Backbone
from detectron2.modeling.backbone import FPN
from torch import Tensor, nn

from dense.errors import ConfigError

__all__ = ["Towers", "freeze_unused", "pyramid_levels"]

_PAPER = ("p3", "p4", "p5", "p6")  # P7 is too coarse


class Towers(nn.Module):
    """Classification and regression towers of FCOS up to a convolution, shared by the levels; keys as in Detectron2's head.

    Args:
        channels: of the levels.
        convs: 3×3 convolutions of each tower, each with norm and ReLU.
        norm: ``"GN"`` or ``""``.
    """

    def __init__(self, channels: int, convs: int, norm: str) -> None:
        super().__init__()
        self.cls_subnet = _tower(channels, convs, norm)
        self.bbox_subnet = _tower(channels, convs, norm)

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """L maps → 2·L: those of the classification tower, then those of the regression tower."""
        return [tower(level) for tower in (self.cls_subnet, self.bbox_subnet) for level in levels]


def _tower(channels: int, convs: int, norm: str) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(convs):
        conv = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.normal_(conv.weight, std=0.01)  # as FCOS begins
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]  # it has one
        layers += [conv, *([nn.GroupNorm(32, channels)] if norm == "GN" else []), nn.ReLU()]
    return nn.Sequential(*layers)


def pyramid_levels(backbone: Backbone, wanted: Sequence[str]) -> list[str]:
    """Levels that are compared, finest first: ``wanted``, or else those of P3 to P6 that there are.

    Raises: ConfigError if there is no pyramid or no such level.
    """
    if not isinstance(backbone, FPN):
        raise ConfigError(
            f"PRETRAIN.PARTS: fpn and head need a pyramid, MODEL.BACKBONE.NAME gives a {type(backbone).__name__}. Take one"
            " whose name holds fpn."
        )
    there = list(backbone.output_shape())
    levels = list(wanted) or [level for level in _PAPER if level in there]
    missing = [level for level in levels if level not in there]
    if missing or not levels:
        raise ConfigError(f"PRETRAIN.LEVELS: the pyramid has {', '.join(there)}, not {', '.join(missing or _PAPER)}.")
    return levels


def freeze_unused(backbone: FPN, levels: Sequence[str]) -> None:
    """Freeze what no compared level depends on (P2's convolutions, P7's): data-parallel training waits for every gradient."""
    top = max(int(name.removeprefix("fpn_output")) for name, _ in backbone.named_children() if name.startswith("fpn_output"))
    highest = max(int(level[1:]) for level in levels)
    used = {int(level[1:]) for level in levels if int(level[1:]) <= top}
    if highest > top and getattr(backbone.top_block, "in_feature", "") == f"p{top}":
        used.add(top)  # the levels above come from this one
    for name, parameter in backbone.named_parameters():
        found = re.match(r"fpn_(lateral|output)(\d+)\.|top_block\.p(\d+)\.", name)
        if found is None:
            continue
        if found[1] == "lateral":  # a level is the sum of its own and all coarser ones
            needed = bool(used) and min(used) <= int(found[2])
        else:
            needed = int(found[2]) in used if found[1] == "output" else int(found[3]) <= highest
        parameter.requires_grad_(needed and parameter.requires_grad)
