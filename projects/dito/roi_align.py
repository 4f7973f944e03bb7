"""RoI-Align as DITO reads its pyramid: one sample in the middle of each bin, no half-pixel shift, no least size."""

from collections.abc import Mapping, Sequence

import torch
import torchvision
from torch import Tensor

from dense.projects.dito.pyramid import LEVELS

__all__ = ["align_level", "align_pyramid", "level_of"]

_CANONICAL_SIDE, _CANONICAL_LEVEL = 224.0, 4  # FPN: a box of ImageNet's size reads C4


def align_level(feature: Tensor, boxes: Sequence[Tensor], stride: int, size: int) -> Tensor:
    """Read a square grid of values in each box of one feature map.

    The feature coordinate of image coordinate ``x`` is ``x / stride``: the value of cell 0 lies at 0. Past the last cell its
    value is used, as that of cell 0 up to one cell before it.

    Args:
        feature: ``(N, C, h, w)``.
        boxes: per image ``(K, 4)`` in pixels; inverted ones are read backwards.
        stride: pixels per cell.
        size: bins per side.

    Returns: ``(K_1 + K_2 + …, C, size, size)``.
    """
    # The library's aligned mode takes half a cell off; half a stride more gives it back. Its other mode enlarges small boxes.
    rows = [torch.cat([b.new_full((len(b), 1), n), b + stride / 2], dim=1) for n, b in enumerate(boxes)]
    regions = torch.cat(rows).float()  # half precision would move a box by pixels
    found = torchvision.ops.roi_align(feature.float(), regions, size, 1 / stride, sampling_ratio=1, aligned=True)
    return found.to(feature.dtype)


def level_of(boxes: Tensor, lowest: int, highest: int) -> Tensor:
    """``(K, 4)`` → ``(K,)`` int64 pyramid level by size: ``floor(log2(sqrt(area) / 224)) + 4``, kept in the given range.

    Boxes without area go to the lowest; those inverted along one axis to level 4, as the reference puts them.
    """
    area = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    level = torch.floor(torch.log2(area.sqrt() / _CANONICAL_SIDE)) + _CANONICAL_LEVEL
    level = torch.nan_to_num(level, nan=_CANONICAL_LEVEL, posinf=highest, neginf=lowest)
    return level.clamp(lowest, highest).long()


def align_pyramid(pyramid: Mapping[str, Tensor], boxes: Sequence[Tensor], size: int) -> Tensor:
    """``align_level`` for each box on the pyramid level of its size.

    Args:
        pyramid: level's name (``p2`` …) → ``(N, C, h, w)``.
        boxes: per image ``(K, 4)`` in pixels.
        size: bins per side.

    Returns: ``(K_1 + K_2 + …, C, size, size)``, in the order of the boxes.
    """
    numbers = [int(name[1:]) for name in pyramid]
    joined = torch.cat(list(boxes))
    levels = level_of(joined, min(numbers), max(numbers))
    counts = [len(b) for b in boxes]
    first = next(iter(pyramid.values()))
    found = first.new_zeros(len(joined), first.shape[1], size, size)
    for name, feature in pyramid.items():
        chosen = levels == int(name[1:])
        mine = [b[c] for b, c in zip(boxes, chosen.split(counts), strict=True)]
        found = found.index_put((chosen.nonzero()[:, 0],), align_level(feature, mine, LEVELS[name], size))
    return found
