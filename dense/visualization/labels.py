"""Label chips on pictures: text fitted to the space, placed inside the picture and apart from each other, then drawn."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from dense.visualization.palette import RGB, contrast_ink

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Anchor", "Chip", "draw_chips", "ellipsize", "font_of", "font_size", "one_line", "place_chips"]

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Anchor:
    """What a label belongs to.

    Attributes:
        texts: wordings, longest first; the first that fits the picture's width is taken.
        box: the object's ``(left, top, right, bottom)`` in pixels, right and bottom exclusive.
        top_x: x in pixels of the object's topmost part, over which the chip is centred.
        color: background of the chip.
    """

    texts: Sequence[str]
    box: Box
    top_x: int
    color: RGB


@dataclass(frozen=True)
class Chip:
    """A placed label: ``box`` is ``(left, top, right, bottom)`` in pixels, right and bottom exclusive."""

    text: str
    box: Box
    color: RGB


def font_size(height: int) -> int:
    """Size of label text in pixels for a picture ``height`` pixels high: 18 at 720, never below 11."""
    return max(11, round(height * 0.025))


@lru_cache(maxsize=16)
def font_of(size: int) -> Any:  # noqa: ANN401  Pillow's two font classes share no public base
    """Pillow's own font (needs no file on the machine); cached, since each load decodes it anew."""
    from PIL import ImageFont

    return ImageFont.load_default(size)


def place_chips(anchors: Sequence[Anchor], width: int, height: int, size: int | None = None) -> list[Chip]:
    """Find a place inside the picture for each label, in the order given; earlier ones keep their first choice.

    First choice is above the object, then inside its top, below it, in its middle, beside it, then further up and down. The
    first place that covers no earlier chip wins, else the one that covers least. A label that does not fit at all is left out.

    Args:
        anchors: labels and the objects they belong to.
        width: picture width in pixels.
        height: picture height in pixels.
        size: of the text in pixels (default: ``font_size(height)``).
    """
    size = size or font_size(height)
    placed: list[Chip] = []
    for anchor in anchors:
        fitted = _fit(anchor.texts, size, width, height)
        if fitted is None:
            continue
        text, chip_width, chip_height = fitted
        best: tuple[int, Box] | None = None
        for left, top in _candidates(anchor, chip_width, chip_height):
            left, top = min(max(left, 0), width - chip_width), min(max(top, 0), height - chip_height)
            box = (left, top, left + chip_width, top + chip_height)
            covered = sum(_overlap(box, other.box) for other in placed)
            if best is None or covered < best[0]:
                best = covered, box
            if covered == 0:
                break
        if best is not None:
            placed.append(Chip(text, best[1], anchor.color))
    return placed


def draw_chips(picture: "Image.Image", chips: Iterable[Chip], size: int | None = None) -> None:
    """Draw ``chips`` on an RGB Pillow picture, in place; ``size`` as in ``place_chips``."""
    from PIL import ImageDraw

    draw = ImageDraw.Draw(picture)
    size = size or font_size(picture.height)
    for chip in chips:
        left, top, right, bottom = chip.box
        draw.rounded_rectangle((left, top, right - 1, bottom - 1), radius=max(2, size // 5), fill=chip.color)
        middle = ((left + right) / 2, (top + bottom) / 2)
        draw.text(middle, chip.text, fill=contrast_ink(chip.color), font=font_of(size), anchor="mm")


def ellipsize(text: str, size: int, width: int) -> str:
    """Shorten ``text`` with ``…`` until it is at most ``width`` pixels wide at ``size``; may become empty."""
    text, font = one_line(text), font_of(size)
    if font.getlength(text) <= width:
        return text
    fitting = bisect_right(range(1, len(text)), width, key=lambda end: font.getlength(text[:end] + "…"))
    return f"{text[:fitting].rstrip()}…" if fitting else ""


def one_line(text: str) -> str:
    """``text`` without line breaks, repeated blanks and half characters, none of which Pillow can measure."""
    return " ".join(text.encode("utf-8", "replace").decode("utf-8").split())


def _fit(texts: Sequence[str], size: int, width: int, height: int) -> tuple[str, int, int] | None:
    """First wording whose chip fits the picture, with the chip's width and height; ``None`` if none does."""
    pad = max(2, round(size * 0.35))
    chip_height = size + pad
    if chip_height > height:
        return None
    for text in texts:
        chip_width = int(font_of(size).getlength(text)) + 2 * pad
        if chip_width <= width:
            return text, chip_width, chip_height
    return None


def _candidates(anchor: Anchor, chip_width: int, chip_height: int) -> Iterable[tuple[int, int]]:
    left, top, right, bottom = anchor.box
    centred = anchor.top_x - chip_width // 2
    yield centred, top - chip_height - 2
    yield centred, top + 3
    yield (left + right - chip_width) // 2, bottom + 2
    yield (left + right - chip_width) // 2, (top + bottom - chip_height) // 2
    yield left - chip_width - 2, top
    yield right + 2, top
    for step in range(1, 9):
        yield centred, top - (step + 1) * (chip_height + 1)
        yield centred, top + step * (chip_height + 1) + 3


def _overlap(one: Box, other: Box) -> int:
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    return max(across, 0) * max(down, 0)
