"""Boxes follow pictures: against the pixels of a mask that fills the box."""

import numpy as np
import pytest

from dense.data.transforms import (
    ClipCrop,
    ClipFlip,
    ClipPipeline,
    ColourBlend,
    Crop,
    Flip,
    LargeScaleJitter,
    Pad,
    Resize,
    ResizeShortestEdge,
    Rotate,
    apply_to_boxes,
    apply_transforms,
)

SIZE = (60, 84)
IMAGE = np.zeros((*SIZE, 3), np.uint8)


def filled(box):
    """``(1, H, W)`` mask of a box with whole corners."""
    x1, y1, x2, y2 = (int(v) for v in box)
    mask = np.zeros((1, *SIZE), bool)
    mask[0, y1:y2, x1:x2] = True
    return mask


def around(mask):
    """Edges of the pixels inside."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


TRANSFORMS = {
    "resize": [Resize(90, 42)],
    "crop": [Crop(10, 20, 30, 40)],
    "pad": [Pad(100, 90)],
    "horizontal": [Flip("horizontal")],
    "vertical": [Flip("vertical")],
    "colour": [ColourBlend("brightness", 0.5)],
    "right angle": [Rotate(180, (0.5, 0.5))],
    "all": [Resize(120, 168), Flip(), Crop(20, 30, 80, 100), Pad(128, 128), Flip("vertical")],
}


@pytest.mark.parametrize("transforms", TRANSFORMS.values(), ids=TRANSFORMS)
def test_apply_to_boxes__any_transform__box_stays_around_the_mask(transforms):
    """Catches swapped axes, a flip off by one, a crop that is not cut, a scale of the wrong side."""
    box = np.array([24.0, 16.0, 50.0, 36.0])
    boxes, size = apply_to_boxes(transforms, box[None], SIZE)
    image, masks = apply_transforms(transforms, IMAGE, filled(box))
    assert size == image.shape[:2]
    assert np.abs(boxes[0] - around(masks[0])).max() <= 1.0  # nearest pixels


def test_apply_to_boxes__turned__holds_the_turned_mask():
    """Catches a rotation in the wrong sense or about another centre: the turned pixels would stick out."""
    box = np.array([40.0, 10.0, 70.0, 22.0])
    transforms = [Rotate(30, (0.4, 0.6))]
    boxes, _ = apply_to_boxes(transforms, box[None], SIZE)
    _, masks = apply_transforms(transforms, IMAGE, filled(box))
    assert np.abs(boxes[0] - around(masks[0])).max() <= 1.5


@pytest.mark.parametrize("seed", range(5))
def test_apply_to_boxes__drawn_pipeline__inside_the_frame(seed):
    """Catches boxes that leave the frame after a crop."""
    rng = np.random.default_rng(seed)
    jitter = LargeScaleJitter(64, (0.5, 2))
    parts = (ClipCrop("relative_range", (0.3, 0.3)), ResizeShortestEdge((40, 70), 100), ClipFlip(), jitter)
    (transforms,) = ClipPipeline(parts).sample([SIZE], rng)
    corners = rng.uniform(0, 60, (20, 2))
    boxes, size = apply_to_boxes(transforms, np.concatenate([corners, corners + rng.uniform(1, 30, (20, 2))], 1), SIZE)
    assert (boxes[:, 2:] >= boxes[:, :2]).all()
    assert (boxes >= 0).all()
    assert (boxes <= [size[1], size[0]] * 2).all()
