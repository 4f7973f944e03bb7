"""Reading one frame from disk: by content, upright, in RGB, of the size the annotations promise."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dense.data.transforms import Size
from dense.errors import DataError
from dense.video.orientation import turn_upright
from dense.video.pictures import exif_turn, open_picture

__all__ = ["image_tensor", "read_image"]

_EIGHT_BIT_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"})


def read_image(path: str | Path, size: Size | None = None) -> NDArray[np.uint8]:
    """Decode an image file into ``(H, W, 3)`` uint8 RGB.

    Args:
        path: image file in a format of ``PICTURE_FORMATS``; its content decides, not its name. An EXIF rotation is applied.
        size: (height, width) in pixels that the annotations state; None to accept any.

    Raises: DataError naming the file if it is missing, broken, not of 8 bits per channel, or of another size.
    """
    with open_picture(path) as image:
        if image.mode not in _EIGHT_BIT_MODES:
            raise DataError(f"{path}: image of mode '{image.mode}', expected 8 bits per channel. Convert it to RGB.")
        pixels = turn_upright(np.asarray(image.convert("RGB")), exif_turn(image))
    if size is not None and pixels.shape[:2] != tuple(size):
        found = f"{pixels.shape[0]}x{pixels.shape[1]}"
        raise DataError(f"{path}: image is {found} pixels (height x width), its annotation says {size[0]}x{size[1]}.")
    return pixels


def image_tensor(image: NDArray[np.uint8], bgr: bool = False) -> Tensor:
    """``(H, W, 3)`` RGB array -> contiguous ``(3, H, W)`` uint8 tensor, channels reversed if ``bgr``."""
    channels = image[..., ::-1] if bgr else image
    return torch.from_numpy(np.ascontiguousarray(channels.transpose(2, 0, 1)))
