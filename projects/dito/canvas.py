"""Pictures on the canvas that the detector sees: [0, 1] without mean or deviation, padded below and on the right (DITO)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dense.errors import DataError
from dense.modeling.preprocess import ImageStack

__all__ = ["PADDINGS", "Canvas"]

PADDINGS: dict[str, tuple[float, float, float]] = {
    "clip_mean": (0.48145466, 0.4578275, 0.40821073),  # as in the reference's training and evaluation
    "black": (0.0, 0.0, 0.0),  # as in its demo
}
"""Colour of the padding by its name in MODEL.DITO.CANVAS.PADDING."""


class Canvas(nn.Module):
    """Puts pictures into the upper left corner of one square, or of a larger canvas if one of them is larger.

    Args:
        side: of the square in pixels, a multiple of ``divisor``; 0 = always as small as the pictures allow.
        padding: RGB in [0, 1].
        divisor: sides of other canvases are multiples of this, pixels: the windows of the transformer ask for it.
    """

    padding: Tensor

    def __init__(self, side: int, padding: Sequence[float] = PADDINGS["clip_mean"], divisor: int = 64) -> None:
        super().__init__()
        self.side, self.divisor = side, divisor
        self.register_buffer("padding", torch.tensor(list(padding)).view(3, 1, 1), persistent=False)

    def forward(self, images: Sequence[Tensor]) -> ImageStack:
        """``(3, h, w)`` RGB with values 0 to 255 → one stack in [0, 1].

        Raises: DataError without images, or for one that has not three channels.
        """
        if not images:
            raise DataError("image: the batch has no picture, expected at least one.")
        for image in images:
            if image.dim() != 3 or image.shape[0] != 3 or 0 in image.shape:
                raise DataError(f"image: shape {list(image.shape)}, expected (3, H, W) with at least one pixel.")
        sizes = [(int(i.shape[-2]), int(i.shape[-1])) for i in images]
        stack = self.padding.expand(len(images), 3, *self._size(sizes)).clone()
        for place, image, (height, width) in zip(stack, images, sizes, strict=True):
            place[:, :height, :width] = image.to(stack.device, torch.float32) / 255
        return ImageStack(stack, sizes)

    def _size(self, sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
        height, width = (max(side) for side in zip(*sizes, strict=True))
        if max(height, width) <= self.side:
            return self.side, self.side
        return -(-height // self.divisor) * self.divisor, -(-width // self.divisor) * self.divisor
