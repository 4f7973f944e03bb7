"""What a pixel's embedding, or a word's, is like elsewhere: a picture coloured by cosine similarity, a legend below."""

import math

import numpy as np
from numpy.typing import NDArray

from dense.errors import DataError
from dense.visualization.labels import ellipsize, font_of, font_size
from dense.visualization.palette import RGB

__all__ = ["draw_similarity", "similarity_colors"]

Picture = NDArray[np.uint8]
_GREY: RGB = (28, 30, 36)

# From dark blue to light yellow: lightness rises all the way, and no step needs red told from green.
_RAMP: tuple[RGB, ...] = ((8, 20, 74), (32, 74, 150), (96, 134, 160), (184, 176, 120), (250, 214, 60), (255, 246, 190))


def similarity_colors(values: NDArray[np.floating]) -> Picture:
    """Colours of numbers in [0, 1] (others are cut off): any shape ``(…)`` → ``(…, 3)`` uint8."""
    stops = np.linspace(0, 1, len(_RAMP))
    channels = [np.interp(values, stops, [color[c] for color in _RAMP]) for c in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def draw_similarity(
    image: Picture,
    similarity: NDArray[np.floating],
    pixel: tuple[int, int] | None = None,
    *,
    span: tuple[float, float] | None = None,
    title: str = "",
    alpha: float = 0.7,
) -> Picture:
    """Colour a picture by similarity to one of its pixels, or to something else.

    Args:
        image: ``(H, W, 3)`` uint8 RGB; left as it is. It shows through in grey.
        similarity: ``(H, W)`` cosines.
        pixel: (x, y) of the pixel, marked by a ring; ``None`` = no mark.
        span: cosines at the ends of the colours; ``None`` = the lowest and the highest of this picture.
        title: written under the picture, before the legend.
        alpha: opacity of the colours, in [0, 1].

    Returns: ``(H + strip, W, 3)`` uint8 RGB; the strip holds title, colour bar and its two cosines.
    Raises: DataError if picture, map and pixel do not fit each other.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise DataError(f"image: is {image.dtype} {image.shape}, expected a (H, W, 3) uint8 RGB array.")
    if similarity.shape != image.shape[:2]:
        raise DataError(f"similarity: {similarity.shape}, expected {image.shape[:2]} like the picture.")
    _check_pixel(pixel, similarity.shape[0], similarity.shape[1])
    if not np.isfinite(similarity).all():
        raise DataError("similarity: has NaN or infinite values. Check the weights.")
    low, high = span if span is not None else (float(similarity.min()), float(similarity.max()))
    grey = (image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
    colors = similarity_colors((similarity - low) / max(high - low, 1e-6))
    blended = (colors * alpha + grey * (1 - alpha)).round().astype(np.uint8)
    return _with_legend(blended if pixel is None else _marked(blended, *pixel), low, high, title)


def _check_pixel(pixel: tuple[int, int] | None, height: int, width: int) -> None:
    if pixel is not None and not (0 <= pixel[0] < width and 0 <= pixel[1] < height):
        raise DataError(f"pixel: {pixel} is outside the picture of {width}x{height} pixels.")


def _marked(picture: Picture, x: int, y: int) -> Picture:
    """Ring around the pixel: black inside white, so that it shows on every colour; the pixel itself stays visible."""
    radius = max(3.0, min(picture.shape[:2]) / 60)
    rows, columns = np.ogrid[: picture.shape[0], : picture.shape[1]]
    distance = np.hypot(columns - x, rows - y)
    width = max(1.0, radius / 3)
    for inner, color in ((radius, 255), (radius - width, 0)):
        picture[np.abs(distance - inner) <= width / 2 + 0.25] = color
    return picture


def _with_legend(picture: Picture, low: float, high: float, title: str) -> Picture:
    from PIL import Image, ImageDraw

    height, width = picture.shape[:2]
    size = font_size(height)
    sheet = Image.new("RGB", (width, height + 2 * size), _GREY)
    sheet.paste(Image.fromarray(picture), (0, 0))
    draw, font, middle = ImageDraw.Draw(sheet), font_of(size), height + size
    ends = [f"{low:.2f}", f"{high:.2f}"]
    taken = [math.ceil(draw.textlength(text, font=font)) for text in ends]
    right, gap = width - size // 2, size // 2
    bar = max(4, min(width // 4, right - sum(taken) - 3 * gap))
    start = right - taken[1] - gap - bar
    if start - gap - taken[0] > gap:  # a picture too narrow for a legend goes without
        draw.text((start - gap, middle), ends[0], fill=(255, 255, 255), font=font, anchor="rm")
        draw.text((right, middle), ends[1], fill=(255, 255, 255), font=font, anchor="rm")
        ramp = np.repeat(similarity_colors(np.linspace(0, 1, bar))[None], max(4, size // 2), axis=0)
        sheet.paste(Image.fromarray(ramp), (start, middle - ramp.shape[0] // 2))
        space = start - 3 * gap - taken[0]
        draw.text((gap, middle), ellipsize(title, size, max(space, 1)), fill=(255, 255, 255), font=font, anchor="lm")
    return np.array(sheet)
