"""The pixels of a view: cut out, resized with antialiasing, mirrored, colours changed; uint8 throughout.

Import this module itself, not through the package: it needs OpenCV, whose colour operations and blur are 3 to 10 times as fast
as Pillow's and torchvision's on such small pictures. They round otherwise: factors are equal, pixels differ by a few levels.
"""

import math
import random
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from dense.data.transforms.views import CropBox, Jitter, ViewPlan
from dense.errors import DependencyError

try:
    import cv2
except ImportError as error:
    raise DependencyError(
        "views for pretraining need OpenCV. Install opencv-python-headless (`make setup` does), or mend the installation."
    ) from error

__all__ = ["change_colours", "render_view", "resize_crop"]

Picture = np.ndarray  # (H, W, 3) uint8 RGB

_LEVELS = np.arange(256, dtype=np.float32)
_SOLARIZED = np.where(_LEVELS < 128, _LEVELS, 255 - _LEVELS).astype(np.uint8)
_RAND_AUGMENT = "rand-m10-n2-mstd0.5"  # two operations, magnitude 10 ± 0.5
_FILL = (124, 116, 104)  # ImageNet's mean colour


def render_view(picture: Picture, plan: ViewPlan, side: int, scale: int = 1) -> Picture:
    """The view that was drawn, ``(side, side, 3)``.

    Args:
        picture: ``(H, W, 3)`` uint8 RGB.
        plan: what was drawn, in pixels of the whole image.
        side: of the view, pixels.
        scale: the picture is this many times smaller than the image (rounded up), pixel k of it covering pixels ``k * scale``
            to ``(k + 1) * scale - 1`` of the image.
    """
    view = resize_crop(picture, plan.box, side, scale)
    return change_colours(view[:, ::-1] if plan.hflip else view, plan)


def resize_crop(picture: Picture, box: CropBox, side: int, scale: int = 1) -> Picture:
    """Part of a picture, resized bilinearly with antialiasing to ``(side, side, 3)``; arguments as ``render_view``.

    The filter sees nothing outside of the part, as when Pillow resizes a crop; equal to that but for one level of rounding.
    In a reduced picture it sees the rest of the pixels that the part's border runs through.
    """
    top, left, height, width = box
    if scale == 1:
        pixels = torch.from_numpy(picture[top : top + height, left : left + width]).permute(2, 0, 1)[None]
        resized = functional.interpolate(pixels, (side, side), mode="bilinear", antialias=True)
        return resized[0].permute(1, 2, 0).numpy()
    from PIL import Image

    y1, x1, y2, x2 = top / scale, left / scale, (top + height) / scale, (left + width) / scale
    y, x = math.floor(y1), math.floor(x1)
    part = Image.fromarray(np.ascontiguousarray(picture[y : math.ceil(y2), x : math.ceil(x2)]))
    return np.asarray(part.resize((side, side), Image.Resampling.BILINEAR, box=(x1 - x, y1 - y, x2 - x, y2 - y)))


def change_colours(view: Picture, plan: ViewPlan) -> Picture:
    """Jitter, greyscale, blur and solarize as drawn, contiguous ``(S, S, 3)``; for RandAugment jitter, blur, it, greyscale."""
    view = np.ascontiguousarray(view)
    if plan.jitter is not None:
        view = _jitter(view, plan.jitter)
    if plan.rand_augment is not None:
        view = _rand_augment(_blur(view, plan.sigma), plan.rand_augment)
        return _grey(view) if plan.grey else view
    if plan.grey:
        view = _grey(view)
    view = _blur(view, plan.sigma)
    return cv2.LUT(view, _SOLARIZED) if plan.solarize else view


def _jitter(view: Picture, jitter: Jitter) -> Picture:
    for kind in jitter.order:
        view = _CHANGES[kind](view, jitter.factors[kind])
    return view


def _brightness(view: Picture, factor: float) -> Picture:
    return cv2.LUT(view, _table(_LEVELS * factor))


def _contrast(view: Picture, factor: float) -> Picture:
    """Away from, or towards, the mean luminance."""
    mean = cv2.mean(cv2.cvtColor(view, cv2.COLOR_RGB2GRAY))[0]
    return cv2.LUT(view, _table(mean + (_LEVELS - mean) * factor))


def _saturation(view: Picture, factor: float) -> Picture:
    return cv2.addWeighted(view, factor, _grey(view), 1 - factor, 0)


def _hue(view: Picture, turns: float) -> Picture:
    shift = int(turns * 255) % 256  # as torchvision does with Pillow: towards no change
    if not shift:
        return view
    values = cv2.cvtColor(view, cv2.COLOR_RGB2HSV_FULL)
    values[..., 0] += np.uint8(shift)  # wraps round
    return cv2.cvtColor(values, cv2.COLOR_HSV2RGB_FULL)


_CHANGES = (_brightness, _contrast, _saturation, _hue)


def _grey(view: Picture) -> Picture:
    return cv2.cvtColor(cv2.cvtColor(view, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def _blur(view: Picture, sigma: float) -> Picture:
    return cv2.GaussianBlur(view, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE) if sigma > 0 else view


def _table(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _rand_augment(view: Picture, seed: int) -> Picture:
    """timm's RandAugment. It draws from global generators, which are seeded for it and put back."""
    from PIL import Image

    states = random.getstate(), np.random.get_state()  # noqa: NPY002  (timm's)
    try:
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        return np.array(_rand_augmentation()(Image.fromarray(view)))
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002


@lru_cache(maxsize=1)
def _rand_augmentation() -> Any:  # noqa: ANN401  timm's
    from timm.data.auto_augment import rand_augment_transform

    return rand_augment_transform(_RAND_AUGMENT, {"translate_const": 100, "img_mean": _FILL})
