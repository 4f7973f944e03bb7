"""Prediction against ground truth in one picture: predictions filled, the truth as white outlines; cut to what matters."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dense.structures import RLE
from dense.visualization.labels import Anchor, draw_chips, place_chips
from dense.visualization.overlay import MaskShape, mask_shape, paint
from dense.visualization.palette import RGB

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["COMPARISON_LEGEND", "blank_frame", "crop_around", "draw_comparison"]

Box = tuple[int, int, int, int]
Named = tuple[RLE | None, str]

COMPARISON_LEGEND = "White outlines: ground truth. Pink: the wrong prediction. Blue: other predictions involved."
_WRONG: RGB = (255, 45, 150)
_OTHER: RGB = (40, 150, 255)
_TRUTH: RGB = (255, 255, 255)
_CASING: RGB = (12, 14, 18)
_PLAIN: RGB = (92, 98, 107)


def draw_comparison(
    image: NDArray[np.uint8], predictions: Sequence[Named], truths: Sequence[Named], box: Box, *, width: int = 460
) -> NDArray[np.uint8]:
    """Draw predictions and ground truth over a part of a frame, enlarged or shrunk to ``width`` pixels.

    Args:
        image: ``(H, W, 3)`` uint8 RGB; left as it is.
        predictions: masks at the picture's size (``None`` = absent) with labels (empty = none); the first is the wrong one.
        truths: likewise.
        box: ``(left, top, right, bottom)`` of the part in pixels, right and bottom exclusive; see ``crop_around``.
        width: of the result in pixels.

    Returns: ``(h, width, 3)`` uint8 RGB in the part's aspect.
    Raises: DataError if a mask has another size.
    """
    from PIL import Image

    left, top, right, bottom = box
    size = width, max(1, round(width * (bottom - top) / (right - left)))
    cut = np.ascontiguousarray(image[top:bottom, left:right])
    picture = Image.fromarray(cut).resize(size, Image.Resampling.BICUBIC)
    anchors = []
    for number, (mask, label) in enumerate(predictions):
        if (shape := _scaled(mask, image, box, size)) is not None:
            color = _OTHER if number else _WRONG
            paint(picture, shape, color, 0.5)
            anchors.append(Anchor([label], shape.box, shape.top_x, color))
    for mask, label in truths:
        if (shape := _scaled(mask, image, box, size)) is not None:
            _outline(picture, shape)
            anchors.append(Anchor([label], shape.box, shape.top_x, _TRUTH))
    text = max(11, round(0.045 * width))  # such pictures are shown small
    draw_chips(picture, place_chips([anchor for anchor in anchors if anchor.texts[0]], *size, text), text)
    return np.array(picture)


def blank_frame(height: int, width: int) -> NDArray[np.uint8]:
    """A plain ``(height, width, 3)`` picture to draw a schematic of masks on."""
    return np.full((height, width, 3), _PLAIN, np.uint8)


def crop_around(masks: Sequence[RLE | None], height: int, width: int) -> Box:
    """Part of a ``height`` × ``width`` frame that shows all ``masks`` with room around: at least 35 % of each side.

    Its aspect is the frame's; without any pixel it is the whole frame.
    """
    boxes = [shape.box for mask in masks if mask is not None and (shape := mask_shape(mask, height, width, "mask")) is not None]
    if not boxes:
        return 0, 0, width, height
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    share = max((max(rights) - min(lefts)) / width, (max(bottoms) - min(tops)) / height)
    share = min(1.0, max(0.35, 1.35 * share))
    across, down = max(1, round(share * width)), max(1, round(share * height))
    left = _placed((max(rights) + min(lefts)) / 2, across, width)
    top = _placed((max(bottoms) + min(tops)) / 2, down, height)
    return left, top, left + across, top + down


def _placed(middle: float, length: int, limit: int) -> int:
    return min(max(0, round(middle - length / 2)), limit - length)


def _scaled(mask: RLE | None, image: NDArray[np.uint8], box: Box, size: tuple[int, int]) -> MaskShape | None:
    """The part of a mask inside ``box``, resized smoothly; ``None`` if nothing is left."""
    from PIL import Image

    shape = None if mask is None else mask_shape(mask, image.shape[0], image.shape[1], "mask")
    if shape is None:
        return None
    whole = Image.new("L", (box[2] - box[0], box[3] - box[1]))
    whole.paste(Image.fromarray(shape.inside), (shape.left - box[0], shape.top - box[1]))
    large = np.asarray(whole.resize(size, Image.Resampling.BICUBIC)) >= 128
    return mask_shape(large, size[1], size[0], "mask")


def _outline(picture: "Image.Image", shape: MaskShape) -> None:
    """A white line on the mask's border with a dark line around it, seen on any ground."""
    from PIL import Image, ImageChops, ImageFilter

    margin = 6
    hard = Image.fromarray(np.pad(shape.inside, margin))
    line, casing = hard.filter(ImageFilter.MaxFilter(3)), hard.filter(ImageFilter.MaxFilter(7))
    inner = hard.filter(ImageFilter.MinFilter(3))
    place = shape.left - margin, shape.top - margin
    area = (*place, place[0] + hard.width, place[1] + hard.height)
    picture.paste(_CASING, area, ImageChops.subtract(casing, inner).filter(ImageFilter.GaussianBlur(0.6)))
    picture.paste(_TRUTH, area, ImageChops.subtract(line, inner).filter(ImageFilter.GaussianBlur(0.5)))
