"""Two views of JPEG pictures by one core (decoding, crops, colours), beside torchvision's transforms in the usual order.

Views are drawn anew each time, so outputs agree in distribution only: mean, spread and sharpness of either view.
"""

import io
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor
from torchvision import transforms

from benchmarks.case import Case
from dense.data.mappers.views import ViewMapper, ViewSettings
from dense.data.transforms.views import VIEW_MODES

__all__ = ["cases", "torchvision_views"]

_SIDE, _AREA = 224, (0.08, 1.0)


@dataclass(frozen=True)
class _Pictures:
    """JPEG files in memory: the disk is not measured."""

    files: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.files)

    def name(self, index: int) -> str:
        return f"picture {index}"

    def content(self, index: int) -> BinaryIO:
        return io.BytesIO(self.files[index])


def cases() -> list[Case]:
    """Pictures of ImageNet's usual size, and photos of 12 megapixels, which are decoded at a part of their size."""
    return [_case(64, 375, 500, 2.0), _case(8, 3024, 4032, 1.5)]


def _case(count: int, height: int, width: int, faster: float) -> Case:
    pictures = _Pictures(tuple(_jpeg(k, height, width) for k in range(count)))
    mapper = ViewMapper(pictures, ViewSettings(_SIDE, _AREA, VIEW_MODES["BYOL"]))
    runs = itertools.count()

    def ours() -> Tensor:
        run = next(runs)
        return torch.stack([mapper(k, np.random.default_rng([run, k]))["views"] for k in range(count)])

    one, two = (torchvision_views(number) for number in range(2))

    def theirs() -> Tensor:
        opened = (Image.open(pictures.content(k)).convert("RGB") for k in range(count))
        return torch.stack([torch.stack([one(image), two(image)]) for image in opened])

    pixels = count * 2 * 3 * _SIDE * _SIDE
    size = sum(len(data) for data in pictures.files) + pixels
    name = f"two views of {count} JPEGs {width}x{height}"

    def agree(a: object, b: object) -> None:
        more = -(-64 // count) - 1  # passes, so that figures of few pictures do not differ by chance
        pooled = [torch.cat([first, *(task() for _ in range(more))]) for first, task in ((a, ours), (b, theirs))]
        _agree(*pooled)

    return Case(name, ours, {"torchvision": theirs}, agree, size, 0, faster=faster)


def torchvision_views(number: int) -> Callable[[Image.Image], Tensor]:
    """The transform of view 0 or 1 out of torchvision's parts on Pillow images, ``(3, S, S)`` uint8."""
    parts = [
        transforms.RandomResizedCrop(_SIDE, _AREA, interpolation=transforms.InterpolationMode.BILINEAR),
        transforms.RandomHorizontalFlip(),
        transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.2, 0.1)], 0.8),
        transforms.RandomGrayscale(0.2),
        transforms.RandomApply([_blur], (1.0, 0.1)[number]),
        transforms.RandomSolarize(128, (0.0, 0.2)[number]),
        transforms.PILToTensor(),
    ]
    return transforms.Compose(parts)


def _blur(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(float(np.random.default_rng().uniform(0.1, 2.0))))


def _jpeg(number: int, height: int, width: int) -> bytes:
    """Smooth shapes and fine grain, as in a photo; every picture other ones."""
    rng = np.random.default_rng(number)
    low = rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(low).resize((width, height), Image.Resampling.BICUBIC), np.float32)
    grain = rng.normal(0, 6, (height, width, 1)).astype(np.float32)
    stream = io.BytesIO()
    Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8)).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def _agree(ours: Tensor, theirs: Tensor) -> None:
    for view, (a, b) in enumerate(zip(_figures(ours), _figures(theirs), strict=True)):
        assert np.allclose(a, b, rtol=0.2), f"view {view + 1}: mean, spread, sharpness {a}, torchvision's {b}"


def _figures(views: Tensor) -> list[tuple[float, float, float]]:
    """Mean, spread and mean step between neighbours of view 1 and of view 2."""
    values = views.float()  # (N, 2, 3, S, S)
    steps = (values[..., 1:] - values[..., :-1]).abs()
    return [(float(v.mean()), float(v.std()), float(s.mean())) for v, s in zip(values.unbind(1), steps.unbind(1), strict=True)]
