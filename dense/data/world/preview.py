"""Previews: ground truth drawn into an H.264 video and into a contact sheet of several videos and moments."""

import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dense.data.world.categories import STUFF, THINGS
from dense.data.world.render import RenderedVideo
from dense.data.world.word_scenes import WordPicture
from dense.errors import VideoError
from dense.io import atomic_write

__all__ = [
    "contact_sheet",
    "draw_ground_truth",
    "write_contact_sheet",
    "write_image_sheet",
    "write_preview",
    "write_word_sheet",
]

Picture = NDArray[np.uint8]

# Outline colours per instance (RGB); bright, so that they stand out from the muted stuff.
_OUTLINES = ((255, 64, 64), (64, 224, 96), (80, 150, 255), (255, 220, 40), (255, 96, 220), (64, 236, 236))


def draw_ground_truth(video: RenderedVideo, frame: int, scale: int = 1) -> Picture:
    """One frame with outlined masks and category names, ``(scale * H, scale * W, 3)`` uint8 RGB.

    Args:
        video: a rendered video.
        frame: index in [0, T).
        scale: integer enlargement; words and lines are drawn at the larger size.
    """
    height, width = video.frames.shape[1:3]
    size = (scale * width, scale * height)
    picture = cv2.resize(video.frames[frame], size, interpolation=cv2.INTER_CUBIC)
    anchors = []
    for index, (name, track) in enumerate(zip(video.categories, video.masks, strict=True)):
        if not track[frame].any():
            continue
        mask = cv2.resize(track[frame].astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, contours, -1, (16, 16, 16), scale + 1, cv2.LINE_AA)
        colour = _OUTLINES[index % len(_OUTLINES)]
        cv2.drawContours(picture, contours, -1, colour, max(1, scale - 1), cv2.LINE_AA)
        largest = max(contours, key=len)
        anchors.append((f"{index + 1} {name}", colour, largest[:, 0].min(0), largest[:, 0].max(0)))
    for text, colour, low, high in anchors:  # after all outlines, so that none crosses a word
        _label(picture, text, colour, ((low[0] + high[0]) / 2, low[1] - 3 * scale), scale)
    return picture


def contact_sheet(videos: list[RenderedVideo], columns: int = 4, scale: int = 1) -> Picture:
    """A grid, one row per video, ``columns`` frames spread over its length; ``(rows, columns)`` pictures with gaps."""
    rows = []
    for video in videos:
        moments = np.linspace(0, len(video.frames) - 1, columns).round().astype(int)
        cells = [
            np.pad(draw_ground_truth(video, int(t), scale), ((2, 2), (2, 2), (0, 0)), constant_values=255) for t in moments
        ]
        rows.append(np.concatenate(cells, axis=1))
    return np.concatenate(rows, axis=0)


def write_contact_sheet(path: str | os.PathLike[str], videos: list[RenderedVideo], columns: int = 4, scale: int = 1) -> None:
    """Write ``contact_sheet`` as PNG, atomically."""
    _write_png(path, contact_sheet(videos, columns, scale))


def write_preview(path: str | os.PathLike[str], videos: list[RenderedVideo], rate: int = 12, scale: int = 2) -> None:
    """Write the videos with their ground truth, one after the other, as H.264 MP4 (yuv420p, even size).

    Args:
        path: the MP4 file; written under a temporary name and renamed.
        videos: rendered videos of one size, at least one.
        rate: frames per second.
        scale: integer enlargement.

    Raises: VideoError if ``videos`` is empty or of several sizes.
    """
    import av

    sizes = {video.frames.shape[1:3] for video in videos}
    if len(sizes) != 1:
        raise VideoError(f"{path}: {len(sizes)} picture sizes in the preview, expected one.")
    height, width = (scale * n // 2 * 2 for n in sizes.pop())
    with atomic_write(Path(path), "wb") as file, av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "20"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for video in videos:
            for t in range(len(video.frames)):
                picture = np.ascontiguousarray(draw_ground_truth(video, t, scale)[:height, :width])
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def write_image_sheet(path: str | os.PathLike[str], pictures: list[RenderedVideo], scale: int = 2) -> None:
    """Write pictures of one frame with their ground truth as PNG, atomically: per row the objects, and the semantic map."""
    from dense.data.world.image_writer import label_map
    from dense.visualization.maps import draw_semantic

    names = (*THINGS, *STUFF)
    rows = []
    for video in pictures:
        height, width = video.frames.shape[1:3]
        labels = cv2.resize(label_map(video), (scale * width, scale * height), interpolation=cv2.INTER_NEAREST)
        image = cv2.resize(video.frames[0], (scale * width, scale * height), interpolation=cv2.INTER_CUBIC)
        pair = [draw_ground_truth(video, 0, scale), draw_semantic(np.asarray(image, np.uint8), labels, names, alpha=0.7)]
        rows.append(np.concatenate([np.pad(p, ((2, 2), (2, 2), (0, 0)), constant_values=255) for p in pair], axis=1))
    _write_png(path, np.concatenate(rows, axis=0))


def write_word_sheet(path: str | os.PathLike[str], pictures: list[WordPicture], columns: int = 2, scale: int = 2) -> None:
    """Write pictures as PNG, atomically: objects with their names (novel ones with a star), the captions below."""
    cells = []
    for found in pictures:
        names = tuple(f"{category.name}{' *' if category.novel else ''}" for category in found.categories)
        image = draw_ground_truth(replace(found.picture, categories=names), 0, scale)
        words = np.full((len(found.captions) * 16 + 8, image.shape[1], 3), 255, np.uint8)
        for row, caption in enumerate(found.captions):
            place = (4, 16 * (row + 1))
            cv2.putText(words, caption, place, cv2.FONT_HERSHEY_SIMPLEX, 0.36, (16, 16, 16), 1, cv2.LINE_AA)
        cells.append(np.pad(np.concatenate([image, words]), ((2, 2), (2, 2), (0, 0)), constant_values=255))
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % columns)
    rows = [np.concatenate(cells[first : first + columns], axis=1) for first in range(0, len(cells), columns)]
    _write_png(path, np.concatenate(rows, axis=0))


def _write_png(path: str | os.PathLike[str], picture: Picture) -> None:
    _, data = cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]))
    with atomic_write(path, "wb") as stream:
        stream.write(data.tobytes())


def _label(picture: Picture, text: str, colour: tuple[int, int, int], anchor: tuple[float, float], scale: int) -> None:
    """Dark words on a coloured plate that stands on ``anchor`` (x, y), pushed inside the picture."""
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.32 * (0.6 + 0.4 * scale)
    (width, height), base = cv2.getTextSize(text, font, size, 1)
    x = int(np.clip(anchor[0] - width / 2, 2, max(2, picture.shape[1] - width - 3)))
    y = int(np.clip(anchor[1] - base, height + 3, picture.shape[0] - base - 2))
    cv2.rectangle(picture, (x - 2, y - height - 2), (x + width + 2, y + base), colour, cv2.FILLED)
    cv2.putText(picture, text, (x, y), font, size, (16, 16, 16), 1, cv2.LINE_AA)
