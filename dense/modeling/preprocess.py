"""Normalise, pad and stack images (Mask2Former's input contract)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dense.errors import DataError

__all__ = ["ImageStack", "Preprocessor"]


@dataclass(frozen=True)
class ImageStack:
    """A batch of images of one size.

    Attributes:
        tensor: ``(B, 3, H, W)`` normalised, zero-padded at the bottom and on the right.
        sizes: (height, width) of each image before padding, pixels.
    """

    tensor: Tensor
    sizes: list[tuple[int, int]]

    @property
    def padded(self) -> tuple[int, int]:
        """(H, W) of the stack in pixels."""
        return self.tensor.shape[-2], self.tensor.shape[-1]


class Preprocessor(nn.Module):
    """Holds mean and standard deviation (not in the state dict) and pads to multiples of ``divisibility`` pixels."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], divisibility: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)
        self.divisibility = max(divisibility, 1)

    def forward(self, images: Sequence[Tensor]) -> ImageStack:
        """``(3, h, w)`` tensors with values 0 to 255 → one stack; padding happens after normalisation.

        Raises: DataError without images.
        """
        if not images:
            raise DataError("image: the batch has no frame, expected at least one.")
        sizes = [(int(i.shape[-2]), int(i.shape[-1])) for i in images]
        d = self.divisibility
        height = -(-max(h for h, _ in sizes) // d) * d
        width = -(-max(w for _, w in sizes) // d) * d
        normalised = [(image.to(self.mean.device, torch.float32) - self.mean) / self.std for image in images]
        padded = [F.pad(i, (0, width - i.shape[-1], 0, height - i.shape[-2])) for i in normalised]
        return ImageStack(torch.stack(padded), sizes)
