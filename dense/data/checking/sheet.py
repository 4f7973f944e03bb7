"""The contact sheet: frames with what is annotated drawn over them, faulty ones first, in one picture."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dense.data.checking.report import SHOWN, CheckReport, Frame, FrameKey, Picture
from dense.errors import DataError
from dense.io import atomic_write

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["choose_frames", "contact_sheet", "write_contact_sheet"]

_TITLE = 40  # height of the two lines under a picture
_GAP = 6
_PAPER, _INK, _FAULTY = (255, 255, 255), (40, 40, 44), (190, 30, 30)


def choose_frames(report: CheckReport, count: int) -> list[tuple[Frame, list[str]]]:
    """Up to ``count`` frames with the kinds of their faults: those with errors, with warnings, then others spread evenly."""
    kinds: dict[FrameKey, dict[str, None]] = {}
    for fault in sorted(report.faults, key=lambda fault: fault.severity):  # "error" before "warning"
        key = report.owner_of(fault)
        if key is not None:
            kinds.setdefault(key, {})[fault.kind] = None
    frames = {frame.key: frame for frame in report.frames}
    faulty = [key for key in kinds if key in frames][:count]
    sound = [key for key in frames if key not in kinds]
    left = min(count - len(faulty), len(sound))
    spread = [sound[int(k)] for k in np.linspace(0, len(sound) - 1, left).round()] if left else []
    return [(frames[key], list(kinds.get(key, {}))) for key in (*faulty, *spread)]


def contact_sheet(reports: Sequence[CheckReport], count: int = 24, columns: int = 4) -> Picture | None:
    """A grid of frames of all data sets, ``count`` at most of each; ``None`` if there is no frame.

    Returns: ``(H, W, 3)`` uint8 RGB.
    """
    chosen = [(report, *one) for report in reports for one in choose_frames(report, count)]
    pictures = [_fitted(_drawn(frame)) for _, frame, _ in chosen]
    if not pictures:
        return None
    height = max(picture.height for picture in pictures)
    cells = [_cell(p, height, _name(r, f), kinds) for p, (r, f, kinds) in zip(pictures, chosen, strict=True)]
    blank = np.full_like(cells[0], 255)
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    if len(rows) > 1:
        rows[-1] += [blank] * (columns - len(rows[-1]))
    return np.concatenate([np.concatenate(row, axis=1) for row in rows], axis=0)


def write_contact_sheet(path: str | os.PathLike[str], reports: Sequence[CheckReport], count: int = 24) -> bool:
    """Write ``contact_sheet`` as PNG, atomically; False (and no file) if there is no frame to show."""
    from PIL import Image

    sheet = contact_sheet(reports, count)
    if sheet is None:
        return False
    with atomic_write(path, "wb") as stream:
        Image.fromarray(sheet).save(stream, "PNG")
    return True


def _drawn(frame: Frame) -> Picture:
    """The frame, or gray where it cannot be shown (its fault is in the report)."""
    try:
        return frame.draw()
    except DataError:
        return np.full((*SHOWN, 3), 96, np.uint8)


def _fitted(drawn: Picture) -> "Image.Image":
    """The picture at the size of a cell or below."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(drawn))
    picture.thumbnail(SHOWN[::-1])
    return picture


def _name(report: CheckReport, frame: Frame) -> str:
    owner, t = frame.key
    return f"{Path(report.source).name}: " + (f"video {owner}, frame {t}" if report.lengths else f"image {owner}")


def _cell(picture: "Image.Image", height: int, name: str, kinds: list[str]) -> Picture:
    """A picture standing on its name, with the kinds of its faults in red below."""
    from PIL import Image, ImageDraw

    from dense.visualization.labels import ellipsize, font_of

    cell = Image.new("RGB", (SHOWN[1] + _GAP, height + _TITLE + _GAP), _PAPER)
    left, top = (SHOWN[1] - picture.width) // 2, height - picture.height
    cell.paste(picture, (left, top))
    draw = ImageDraw.Draw(cell)
    if kinds:
        draw.rectangle((left, top, left + picture.width - 1, top + picture.height - 1), outline=_FAULTY, width=3)
    size = 14
    for line, (text, ink) in enumerate(((name, _INK), (", ".join(kinds), _FAULTY))):
        draw.text((4, height + 4 + 18 * line), ellipsize(text, size, SHOWN[1] - 8), fill=ink, font=font_of(size))
    return np.array(cell)
