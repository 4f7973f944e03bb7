"""Which regions the box and mask heads learn from, and what: sampling, soft mask targets."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor

from dense.projects.dito.boxes import pairwise_iou
from dense.projects.dito.proposals import Proposals

__all__ = [
    "ImageTargets",
    "RegionSamples",
    "SampleRules",
    "crop_masks",
    "match_regions",
    "objects_of",
    "sample_regions",
    "soft_mask_targets",
]

CROP = 112  # side of a stored mask
_BORDER = 2  # zeros around it


@dataclass(frozen=True)
class ImageTargets:
    """Objects of one training image on its canvas.

    Attributes:
        boxes: ``(G, 4)`` in pixels.
        classes: ``(G,)`` int64 rows of the vocabulary, from 1.
        masks: ``(G, 112, 112)`` in [0, 1]: each mask inside its box; ``None`` for a detector without masks.
    """

    boxes: Tensor
    classes: Tensor
    masks: Tensor | None = None


@dataclass(frozen=True)
class SampleRules:
    """How regions are drawn.

    Attributes:
        count: regions per image.
        foreground: greatest share of objects among them.
        overlap: regions that overlap an object by more are foreground, by less background; at exactly this neither.
        masks: foreground regions per image that learn a mask.
    """

    count: int = 512
    foreground: float = 0.25
    overlap: float = 0.5
    masks: int = 128


@dataclass(frozen=True)
class RegionSamples:
    """Regions of one image, foreground first.

    Attributes:
        boxes: ``(R, 4)`` in pixels.
        classes: ``(R,)`` int64 rows of the vocabulary, 0 = background.
        objects: ``(R,)`` index of the object, meaningless for background.
    """

    boxes: Tensor
    classes: Tensor
    objects: Tensor

    @property
    def foreground(self) -> int:
        """Number of foreground regions."""
        return int((self.classes > 0).sum())


def match_regions(boxes: Tensor, objects: Tensor) -> tuple[Tensor, Tensor]:
    """``(K, 4)`` boxes and ``(G, 4)`` objects → greatest overlap ``(K,)`` and whose it is ``(K,)``; zeros without objects."""
    if not len(objects):
        return boxes.new_zeros(len(boxes)), torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
    overlap, index = pairwise_iou(boxes, objects).max(dim=1)
    return overlap, index


@torch.no_grad()
def sample_regions(proposals: Proposals, targets: ImageTargets, rules: SampleRules) -> RegionSamples:
    """Draw regions from the proposals and the objects' own boxes; random numbers come from torch's generator.

    Where there is not enough foreground, background fills up; where there are not enough of both, there are fewer regions.
    """
    boxes = torch.cat([proposals.boxes, targets.boxes])
    overlap, index = match_regions(boxes, targets.boxes)
    foreground = _some(overlap > rules.overlap, int(rules.count * rules.foreground))
    background = _some(overlap < rules.overlap, rules.count - len(foreground))
    chosen = torch.cat([foreground, background])
    padded = torch.cat([targets.classes, targets.classes.new_zeros(1)])  # without objects the index 0 must exist
    classes = padded[index[chosen]]
    classes[len(foreground) :] = 0
    return RegionSamples(boxes[chosen], classes, index[chosen])


def _some(wanted: Tensor, count: int) -> Tensor:
    found = wanted.nonzero()[:, 0]
    return found[torch.randperm(len(found), device=found.device)[:count]]


@torch.no_grad()
def crop_masks(masks: Tensor, boxes: Tensor) -> Tensor:
    """``(G, H, W)`` masks and their ``(G, 4)`` boxes → ``(G, 112, 112)`` in [0, 1], each mask inside its box."""
    boxes = boxes.float()
    rows = torch.cat([torch.arange(len(boxes), device=boxes.device)[:, None].to(boxes), boxes], dim=1)
    return torchvision.ops.roi_align(masks[:, None].float(), rows, CROP, 1.0, sampling_ratio=0, aligned=True)[:, 0]


@torch.no_grad()
def soft_mask_targets(crops: Tensor, boxes: Tensor, regions: Tensor, size: int = 28) -> Tensor:
    """Read the masks of objects in regions: bilinear, not thresholded, fading to 0 within one value outside the crop.

    Args:
        crops: ``(R, M, M)`` mask of each region's object inside the object's box.
        boxes: ``(R, 4)`` that box.
        regions: ``(R, 4)`` where the mask head looks.
        size: bins per side.

    Returns: ``(R, size, size)`` in [0, 1]. No half-pixel shift, as in RoI-Align: position 0 of a crop is its first value.
    """
    side = crops.shape[-1]
    bins = (torch.arange(size, device=crops.device) + 0.5) / size
    at = regions[:, None, :2] + bins[:, None] * (regions[:, 2:] - regions[:, :2])[:, None]  # (R, size, 2) as (x, y)
    extent = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-8)[:, None]
    places = (at - boxes[:, None, :2]) * side / extent
    padded = F.pad(crops, (_BORDER,) * 4)
    scaled = (places + _BORDER) / (side + 2 * _BORDER - 1) * 2 - 1
    x, y = scaled[..., 0], scaled[..., 1]
    grid = torch.stack([x[:, None].expand(-1, size, -1), y[:, :, None].expand(-1, -1, size)], dim=-1)
    return F.grid_sample(padded[:, None], grid, mode="bilinear", padding_mode="border", align_corners=True)[:, 0]


def objects_of(samples: Sequence[RegionSamples], targets: Sequence[ImageTargets]) -> Tensor:
    """``(R_1 + R_2 + …, 4)`` box of the object of each foreground region; of background the region's own."""
    found = []
    for sample, target in zip(samples, targets, strict=True):
        boxes = sample.boxes.clone()
        wanted = sample.classes > 0
        boxes[wanted] = target.boxes[sample.objects[wanted]]
        found.append(boxes)
    return torch.cat(found)
