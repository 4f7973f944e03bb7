"""Decoding a JPEG at 1/2, 1/4 or 1/8 of its size where less than that is needed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dense.data.transforms.views import CropBox
from dense.video.pictures import exif_turn

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["reduce_decoding"]

_GAP = 2  # a reduced crop keeps at least so many times the side of its view: then reducing cannot be seen


def reduce_decoding(image: "Image", boxes: Sequence[CropBox], sides: Sequence[int]) -> int:
    """Let a JPEG be decoded smaller if all crops stay ``_GAP`` times their view; returns the divisor.

    The decoder averages whole blocks, so pixel k covers exactly the pixels from ``k * divisor`` on and no coordinate changes.
    An image that EXIF mirrors or turns counts from its other end, where the last block may be a part: left as it is.

    Args:
        image: opened, not decoded yet.
        boxes: the crops that are wanted of it.
        sides: what each is resized to, pixels.
    """
    if image.format != "JPEG" or exif_turn(image) != (False, False, False):
        return 1
    room = min(min(box.height, box.width) / (_GAP * side) for box, side in zip(boxes, sides, strict=True))
    scale = next((divisor for divisor in (8, 4, 2) if divisor <= room), 1)
    if scale > 1:
        width, height = image.size
        image.draft(None, (width // scale, height // scale))
        scale = round(width / image.width)  # what the decoder chose
    return scale
