"""Augmentation of clips: what was drawn is a value, and nothing is drawn from global state.

* ``base``: the two protocols, :class:`Transform` (applied to one frame) and :class:`ClipAugmentation` (draws transforms
  for all frames of a clip from an explicit generator), and :class:`ClipPipeline`, a sequence of augmentations. Read first.
* ``geometry``: :class:`Resize`, :class:`Crop`, :class:`Pad`, :class:`Flip`, :class:`Rotate`.
* ``colour``: :class:`ColourBlend` and its augmentation :class:`ClipColour`.
* ``resizing``: :class:`ResizeShortestEdge`, :class:`LargeScaleJitter`.
* ``clip``: :class:`ClipCrop`, :class:`ClipFlip`, :class:`ClipRotation`, :class:`PseudoRotation`, :class:`ClipChance`.
* ``views``, ``view_pixels``: two views of an image for pretraining: what was drawn, and the pixels (needs OpenCV). Import them
  from the modules themselves.

Not here: which augmentations a config asks for (``dense.data.loaders.config``).
"""

from dense.data.transforms.base import ClipAugmentation, ClipPipeline, Size, Transform, apply_to_boxes, apply_transforms
from dense.data.transforms.clip import ClipChance, ClipCrop, ClipFlip, ClipRotation, PseudoRotation
from dense.data.transforms.colour import ClipColour, ColourBlend
from dense.data.transforms.geometry import Crop, Flip, Pad, Resize, Rotate
from dense.data.transforms.resizing import LargeScaleJitter, ResizeShortestEdge, shortest_edge_size

__all__ = [
    "ClipAugmentation",
    "ClipChance",
    "ClipColour",
    "ClipCrop",
    "ClipFlip",
    "ClipPipeline",
    "ClipRotation",
    "ColourBlend",
    "Crop",
    "Flip",
    "LargeScaleJitter",
    "Pad",
    "PseudoRotation",
    "Resize",
    "ResizeShortestEdge",
    "Rotate",
    "Size",
    "Transform",
    "apply_to_boxes",
    "apply_transforms",
    "shortest_edge_size",
]
