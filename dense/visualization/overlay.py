"""Results over pictures: translucent masks with crisp outlines and labels, one colour per track; Pillow and NumPy only."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dense.errors import DataError
from dense.structures import RLE, FrameResult
from dense.structures.rle import decode
from dense.visualization.labels import Anchor, draw_chips, ellipsize, font_of, font_size, one_line, place_chips
from dense.visualization.palette import RGB, track_color

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["MaskShape", "draw_frame", "draw_tracks", "mask_shape", "outline_width", "paint", "side_by_side"]

Picture = NDArray[np.uint8]
_CHIP_GREY: RGB = (28, 30, 36)
_GAP = 8


def draw_frame(
    image: Picture,
    result: FrameResult,
    categories: Sequence[str],
    *,
    alpha: float = 0.5,
    min_score: float = 0.3,
    labels: bool = True,
    times: bool = False,
) -> Picture:
    """Draw what a model saw in one frame.

    Args:
        image: ``(H, W, 3)`` uint8 RGB; left as it is.
        result: objects of this frame, masks at the picture's size. ``result.panoptic`` is not drawn.
        categories: name of each label; empty leaves names out.
        alpha: opacity of the fill in [0, 1]; outlines are opaque.
        min_score: objects below this score, in [0, 1], are left out.
        labels: write ``[id] name 87%`` at each object.
        times: write the frame's time in seconds in the lower left corner.

    Returns: ``(H, W, 3)`` uint8 RGB, a new array.
    Raises: DataError if picture, masks and lists do not fit each other, or a label has no category.
    """
    _same_length("result", track_ids=result.track_ids, labels=result.labels, scores=result.scores, masks=result.masks)
    keep = [i for i, score in enumerate(result.scores) if score >= min_score]
    return _draw(
        image,
        [result.masks[i] for i in keep],
        [result.track_ids[i] for i in keep],
        [_name(result.labels[i], categories) for i in keep],
        scores=[result.scores[i] for i in keep],
        alpha=alpha,
        labels=labels,
        note=f"{result.time_s:.2f} s" if times else None,
    )


def draw_tracks(
    image: Picture,
    masks: Sequence[RLE | NDArray[Any] | None],
    ids: Sequence[int],
    names: Sequence[str],
    *,
    scores: Sequence[float] | None = None,
    alpha: float = 0.5,
    labels: bool = True,
) -> Picture:
    """Draw masks with names, for instance ground truth.

    Args:
        image: ``(H, W, 3)`` uint8 RGB; left as it is.
        masks: RLE or ``(H, W)`` bool / 0-1 arrays at the picture's size; ``None`` where the object is absent.
        ids: track id of each mask; decides its colour.
        names: name of each mask.
        scores: in [0, 1], written after the names where given.
        alpha: opacity of the fill in [0, 1].
        labels: write ``[id] name`` at each object.

    Returns: ``(H, W, 3)`` uint8 RGB, a new array.
    Raises: DataError if picture, masks and lists do not fit each other.
    """
    return _draw(image, masks, ids, names, scores=scores, alpha=alpha, labels=labels, note=None)


def side_by_side(left: Picture, right: Picture, titles: tuple[str, str] | None = None) -> Picture:
    """Set two pictures beside each other, pixel for pixel: the smaller is padded, never resized.

    Args:
        left: ``(H1, W1, 3)`` uint8 RGB.
        right: ``(H2, W2, 3)`` uint8 RGB.
        titles: written above each picture, shortened with ``…`` where too long.

    Returns: ``(max(H1, H2) + strip, W1 + 8 + W2, 3)`` uint8 RGB; the strip for titles is absent without them.
    Raises: DataError if a picture has another shape or type.
    """
    from PIL import Image, ImageDraw

    _check_picture(left, "left")
    _check_picture(right, "right")
    height = max(left.shape[0], right.shape[0])
    size = font_size(height)
    strip = 2 * size if titles else 0
    starts = (0, left.shape[1] + _GAP)
    sheet = Image.new("RGB", (starts[1] + right.shape[1], strip + height), _CHIP_GREY)
    for start, part in zip(starts, (left, right), strict=True):
        sheet.paste(Image.fromarray(np.ascontiguousarray(part)), (start, strip + (height - part.shape[0]) // 2))
    for start, part, title in zip(starts, (left, right), titles or (), strict=False):
        text = ellipsize(title, size, part.shape[1] - size)
        ImageDraw.Draw(sheet).text((start + size // 2, size), text, fill=(255, 255, 255), font=font_of(size), anchor="lm")
    return np.array(sheet)


def outline_width(height: int, width: int) -> float:
    """Width of outlines in pixels: 2 at 720p, scaled with the shorter side, never below 1."""
    return max(1.0, min(height, width) / 360)


@dataclass(frozen=True)
class MaskShape:
    """A decoded mask cut to its box: ``inside`` is ``(h, w)`` uint8 0 or 255, ``left`` and ``top`` its place in pixels."""

    left: int
    top: int
    inside: Picture
    area: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """``(left, top, right, bottom)`` in pixels, right and bottom exclusive."""
        return self.left, self.top, self.left + self.inside.shape[1], self.top + self.inside.shape[0]

    @property
    def top_x(self) -> int:
        """Median column of the mask's upper tenth: steadier than its topmost pixel, and never between parts of a mask."""
        upper = self.inside[: max(1, self.inside.shape[0] // 10)]
        columns = np.flatnonzero(upper.any(axis=0))
        return self.left + int(columns[len(columns) // 2])


def _draw(
    image: Picture,
    masks: Sequence[RLE | NDArray[Any] | None],
    ids: Sequence[int],
    names: Sequence[str],
    *,
    scores: Sequence[float] | None,
    alpha: float,
    labels: bool,
    note: str | None,
) -> Picture:
    from PIL import Image

    _check_picture(image, "image")
    _same_length("tracks", masks=masks, ids=ids, names=names, **({} if scores is None else {"scores": scores}))
    if not 0 <= alpha <= 1:
        raise DataError(f"alpha: is {alpha}, expected an opacity in [0, 1].")
    height, width = image.shape[:2]
    found = [(i, mask_shape(mask, height, width, f"masks[{i}]")) for i, mask in enumerate(masks) if mask is not None]
    shapes = [(i, shape) for i, shape in found if shape is not None]
    shapes.sort(key=lambda pair: -pair[1].area)  # small objects on top, or a large one would hide them
    picture = Image.fromarray(image.copy())
    for i, shape in shapes:
        paint(picture, shape, track_color(ids[i]), alpha)
    anchors = []
    for i, shape in sorted(shapes) if labels else ():
        texts = _wordings(ids[i], names[i], None if scores is None else scores[i])
        anchors.append(Anchor(texts, shape.box, shape.top_x, track_color(ids[i])))
    corner = [Anchor([note], (0, height, 0, height), 0, _CHIP_GREY)] if note else []
    draw_chips(picture, place_chips([*corner, *anchors], width, height))
    return np.array(picture)


def paint(picture: "Image.Image", shape: MaskShape, color: RGB, alpha: float) -> None:
    """Fill and outline one mask in a single blend, in place; ``alpha`` is the opacity of the fill in [0, 1].

    A blurred mask is a function of the signed distance to its border alone, so one table turns it into opacity: 1 in a
    band just inside the border, falling off over one pixel (that is the anti-aliasing), ``alpha`` further inside.
    """
    from PIL import Image, ImageChops, ImageFilter

    line = outline_width(picture.height, picture.width)
    margin = math.ceil(line) + 2
    left, top, right, bottom = shape.box
    hard = Image.fromarray(np.pad(shape.inside, margin))
    radius = (math.sqrt(1 + 6 * max(0.8, 0.5 * line) ** 2) - 1) / 2  # two boxes of it: deviation 0.8 pixel, or half the line
    box = ImageFilter.BoxBlur(radius)  # twice: nearly a Gaussian, a third quicker than Pillow's
    soft = hard.filter(box).filter(box).point(_opacity_table(line, radius, alpha))
    cover = ImageChops.lighter(soft, hard.point([round(alpha * v) for v in range(256)]))  # thin masks vanish in the blur
    picture.paste(color, (left - margin, top - margin, right + margin, bottom + margin), cover)


@lru_cache(maxsize=32)
def _opacity_table(line: float, radius: float, alpha: float) -> list[int]:
    """Opacity 0 to 255 for each value of a mask blurred twice by a box of ``radius`` pixels.

    Blurring a straight border tells which value stands for which distance; between pixels it is interpolated.
    """
    whole = int(radius)
    box = np.pad(np.ones(2 * whole + 1), 1, constant_values=radius - whole) / (2 * radius + 1)
    reach = 2 * whole + 3
    border = np.repeat([0.0, 1.0], 2 * reach)
    values = np.convolve(np.convolve(border, box, "same"), box, "same")[reach:-reach]
    inward = np.interp(np.arange(256) / 255, values, np.arange(-reach, reach) + 0.5)  # pixels from the border, positive inside
    outline = np.clip(line / 2 + 0.5 - np.abs(inward - line / 2), 0, 1)
    return [round(255 * float(part)) for part in np.maximum(outline, alpha * (inward > 0))]


def mask_shape(mask: RLE | NDArray[Any], height: int, width: int, where: str) -> MaskShape | None:
    """Decode and cut to the mask's box; ``None`` for an empty mask.

    Raises: DataError naming ``where`` if the mask is not ``height`` × ``width``.
    """
    if isinstance(mask, dict):
        size = tuple(mask["size"])
        # The decoder trusts the size it is given, so it is compared first.
        inside = decode(mask) if size == (height, width) else np.empty(size, bool)
    else:
        inside = np.asarray(mask) != 0
    if inside.shape != (height, width):
        raise DataError(f"{where}: mask is {inside.shape}, expected (height, width) = {(height, width)} like the picture.")
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if len(rows) == 0:
        return None
    left, top = int(columns[0]), int(rows[0])
    cut = np.ascontiguousarray(inside[top : rows[-1] + 1, left : columns[-1] + 1])
    return MaskShape(left, top, cut.view(np.uint8) * np.uint8(255), int(np.count_nonzero(cut)))


def _wordings(track_id: int, name: str, score: float | None) -> list[str]:
    """Label text, longest first, for pictures too small for all of it."""
    head = f"[{track_id}]"
    named = one_line(f"{head} {name}")
    texts = [] if score is None else [f"{named} {score:.0%}"]
    return [*texts, named, head, str(track_id)]


def _name(label: int, categories: Sequence[str]) -> str:
    if not categories:
        return ""
    if not 0 <= label < len(categories):
        raise DataError(
            f"result.labels: label {label} has no name, expected 0 to {len(categories) - 1}. Pass the categories the model has."
        )
    return categories[label]


def _check_picture(image: Picture, where: str) -> None:
    shape, kind = getattr(image, "shape", None), getattr(image, "dtype", None)
    if shape is None or len(shape) != 3 or shape[2] != 3 or 0 in shape or kind != np.uint8:
        raise DataError(f"{where}: is {kind} {shape}, expected a (H, W, 3) uint8 RGB array.")


def _same_length(where: str, **lists: Sequence[Any]) -> None:
    if len({len(value) for value in lists.values()}) > 1:
        lengths = ", ".join(f"{len(value)} {name}" for name, value in lists.items())
        raise DataError(f"{where}: {lengths}; expected one of each per object.")
