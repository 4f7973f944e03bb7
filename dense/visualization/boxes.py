"""A detector's boxes over a picture, with its masks where it has some; one colour per object."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dense.errors import DataError
from dense.structures import ImageResult
from dense.visualization.labels import Anchor, draw_chips, place_chips
from dense.visualization.overlay import draw_tracks, outline_width
from dense.visualization.palette import track_color

__all__ = ["draw_detections"]

Picture = NDArray[np.uint8]


def draw_detections(
    image: Picture, result: ImageResult, names: Sequence[str], *, alpha: float = 0.5, labels: bool = True
) -> Picture:
    """Draw boxes, masks and names.

    Args:
        image: ``(H, W, 3)`` uint8 RGB; left as it is.
        result: of this image, with boxes.
        names: name of each object.
        alpha: opacity of the masks in [0, 1].
        labels: write ``[number] name 87%`` at each object.

    Returns: ``(H, W, 3)`` uint8 RGB, a new array.
    Raises: DataError if picture, boxes and masks do not fit each other.
    """
    from PIL import Image, ImageDraw

    boxes = result.object_boxes()
    if not len(boxes) == len(names) == len(result.scores):
        raise DataError(f"result: {len(boxes)} boxes, {len(names)} names, {len(result.scores)} scores; expected one of each.")
    numbers = list(range(1, len(boxes) + 1))
    painted = draw_tracks(image, result.object_masks(), numbers, names, alpha=alpha, labels=False)
    picture = Image.fromarray(painted)
    pen = ImageDraw.Draw(picture)
    line = max(1, round(outline_width(picture.height, picture.width)))
    anchors = []
    for number, (x, y, width, height), name, score in zip(numbers, boxes, names, result.scores, strict=True):
        left, top = _inside(x, picture.width), _inside(y, picture.height)
        right, bottom = max(left, _inside(x + width, picture.width)), max(top, _inside(y + height, picture.height))
        pen.rectangle((left, top, right, bottom), outline=track_color(number), width=line)
        texts = [f"[{number}] {name} {score:.0%}", f"[{number}] {name}", f"[{number}]"]
        anchors.append(Anchor(texts, (left, top, right, bottom), left, track_color(number)))
    if labels:
        draw_chips(picture, place_chips(anchors, picture.width, picture.height))
    return np.array(picture)


def _inside(value: float, length: int) -> int:
    return min(max(round(value), 0), length - 1)
