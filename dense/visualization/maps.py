"""Panoptic and semantic maps over pictures: one colour per segment or class, thin borders, a name inside each region."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dense.errors import DataError
from dense.structures import FrameResult, ImageResult, Segment
from dense.visualization.boxes import draw_detections
from dense.visualization.labels import Anchor, draw_chips, place_chips
from dense.visualization.overlay import draw_tracks
from dense.visualization.palette import RGB, track_color

__all__ = ["draw_image", "draw_maps", "draw_panoptic", "draw_semantic", "segment_color"]

Picture = NDArray[np.uint8]
_SMALLEST_NAMED = 0.002  # share of the picture that a region without a name may cover
_MUTED = 0.45  # stuff colours are mixed with so much grey, so that things stand out


@dataclass(frozen=True)
class _Region:
    """One value of a map: its colour and its name."""

    value: int
    name: str
    color: RGB


def draw_image(image: Picture, result: ImageResult, *, alpha: float = 0.5, labels: bool = True) -> Picture:
    """Draw what a predictor found: the panoptic map where there is one, else the objects, else the semantic map.

    Args:
        image: ``(H, W, 3)`` uint8 RGB; left as it is.
        result: of this image.
        alpha: opacity of the fill in [0, 1].
        labels: write names.

    Returns: ``(H, W, 3)`` uint8 RGB, a new array.
    Raises: DataError if picture and result do not fit each other.
    """
    if result.panoptic is not None:
        return draw_panoptic(image, result.panoptic, result.segments, result.categories, alpha=alpha, labels=labels)
    if result.semantic is not None and not result.masks:
        return draw_semantic(image, result.semantic, result.categories, alpha=alpha, labels=labels)
    names = [_name(label, result.categories) for label in result.labels]
    ids = list(range(1, len(names) + 1))
    if result.boxes is not None:
        return draw_detections(image, result, names, alpha=alpha, labels=labels)
    return draw_tracks(image, result.masks, ids, names, scores=result.scores, alpha=alpha, labels=labels)


def draw_maps(image: Picture, result: FrameResult, categories: Sequence[str], *, alpha: float = 0.5) -> Picture:
    """Draw the panoptic or semantic map of a frame; colours and numbers belong to ids, so they stay through a video.

    Args:
        image: ``(H, W, 3)`` uint8 RGB; left as it is.
        result: of this frame, with one of the two maps.
        categories: name of each label; empty leaves names out.
        alpha: opacity in [0, 1].

    Returns: ``(H, W, 3)`` uint8 RGB, a new array.
    Raises: DataError if picture and map differ in size, or there is no map.
    """
    if result.panoptic is not None:
        return draw_panoptic(image, result.panoptic, result.segments, categories, alpha=alpha, numbered=True)
    if result.semantic is not None:
        return draw_semantic(image, result.semantic, categories, alpha=alpha)
    raise DataError(f"frame {result.index}: has neither a panoptic nor a semantic map to draw.")


def segment_color(segment_id: int, label: int, isthing: bool) -> RGB:
    """Colour of a panoptic segment, 0 to 255: of things by id, of stuff by category and muted."""
    return track_color(segment_id) if isthing else _muted(track_color(label))


def draw_panoptic(
    image: Picture,
    ids: NDArray[np.integer],
    segments: Sequence[Segment],
    categories: Sequence[str],
    *,
    alpha: float = 0.5,
    labels: bool = True,
    numbered: bool = False,
) -> Picture:
    """Draw a panoptic map: things in bright colours by id, stuff in muted colours by class; pixels of id 0 stay as they are.

    Args:
        image: ``(H, W, 3)`` uint8 RGB; left as it is.
        ids: ``(H, W)`` segment ids.
        segments: what the ids mean; ids without a segment stay undrawn.
        categories: name of each label; empty leaves names out.
        alpha: opacity in [0, 1].
        labels: write names.
        numbered: write the ids of things before their names, as for the objects of a video.

    Returns: ``(H, W, 3)`` uint8 RGB, a new array.
    Raises: DataError if picture and map differ in size.
    """
    regions = []
    for s in segments:
        name = _name(s.label, categories)
        name = f"[{s.id}] {name}".rstrip() if numbered and s.isthing else name
        regions.append(_Region(s.id, name, segment_color(s.id, s.label, s.isthing)))
    return _draw(image, ids, regions, alpha, labels)


def draw_semantic(
    image: Picture,
    classes: NDArray[np.integer],
    categories: Sequence[str],
    *,
    ignore_label: int = 255,
    alpha: float = 0.5,
    labels: bool = True,
) -> Picture:
    """Draw a semantic map, one colour per class; pixels of ``ignore_label`` stay as they are.

    Args:
        image: ``(H, W, 3)`` uint8 RGB; left as it is.
        classes: ``(H, W)`` class indices.
        categories: name of each class; empty leaves names out.
        ignore_label: value of unlabelled pixels.
        alpha: opacity in [0, 1].
        labels: write names.

    Returns: ``(H, W, 3)`` uint8 RGB, a new array.
    Raises: DataError if picture and map differ in size.
    """
    values = [int(v) for v in np.unique(classes) if v != ignore_label]
    return _draw(image, classes, [_Region(v, _name(v, categories), track_color(v)) for v in values], alpha, labels)


def _draw(image: Picture, values: NDArray[np.integer], regions: Sequence[_Region], alpha: float, labels: bool) -> Picture:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or values.shape != image.shape[:2]:
        raise DataError(
            f"map: is {values.shape} over an image {image.dtype} {image.shape}, expected (H, W) over (H, W, 3) uint8."
        )
    if not 0 <= alpha <= 1:
        raise DataError(f"alpha: is {alpha}, expected an opacity in [0, 1].")
    border = _borders(values)
    picture = image.copy()
    anchors = []
    for region in regions:
        inside = values == region.value
        colour = np.array(region.color, np.float32)
        picture[inside] = np.rint(alpha * colour + (1 - alpha) * image[inside])
        picture[inside & border] = region.color
        if labels and region.name and inside.mean() >= _SMALLEST_NAMED:
            x, y = _inner_point(inside)
            anchors.append(Anchor([region.name], (x, y, x, y), x, region.color))
    return _with_chips(picture, anchors)


def _with_chips(picture: Picture, anchors: Sequence[Anchor]) -> Picture:
    from PIL import Image

    canvas = Image.fromarray(picture)
    draw_chips(canvas, place_chips(anchors, canvas.width, canvas.height))
    return np.array(canvas)


def _borders(values: NDArray[np.integer]) -> NDArray[np.bool_]:
    """``(H, W)`` True where the neighbour to the right or below has another value."""
    border = np.zeros(values.shape, bool)
    border[:, :-1] |= values[:, :-1] != values[:, 1:]
    border[:-1] |= values[:-1] != values[1:]
    return border


def _inner_point(inside: NDArray[np.bool_]) -> tuple[int, int]:
    """A pixel (x, y) of the region near the middle of its longest run in the row nearest to its centre of mass."""
    rows = np.flatnonzero(inside.any(axis=1))
    weights = inside[rows].sum(axis=1)
    centre = float((rows * weights).sum() / weights.sum())
    y = int(rows[np.argmin(np.abs(rows - centre))])
    edges = np.flatnonzero(np.diff(np.concatenate([[0], inside[y].view(np.int8), [0]])))
    starts, ends = edges[::2], edges[1::2]
    longest = int(np.argmax(ends - starts))
    return int((starts[longest] + ends[longest]) // 2), y


def _muted(color: RGB) -> RGB:
    red, green, blue = (round(part + (128 - part) * _MUTED) for part in color)
    return red, green, blue


def _name(label: int, categories: Sequence[str]) -> str:
    return categories[label] if 0 <= label < len(categories) else ""
