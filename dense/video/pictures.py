"""Reading single pictures as RGB, and finding them in folders in natural order."""

import os
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from dense.errors import DataError, VideoError
from dense.limits import DEFAULT_PIXELS, max_pixels
from dense.video.frames import check_pixels, describe
from dense.video.orientation import UPRIGHT, Turn, turn_from_exif, turn_upright

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "PICTURE_FORMATS",
    "PICTURE_SUFFIXES",
    "exif_turn",
    "list_pictures",
    "natural_key",
    "open_picture",
    "over_white",
    "picture_to_rgb",
    "read_picture",
]

PICTURE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""Extensions looked for in folders, compared without regard to case."""

PICTURE_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Formats that are opened, whatever a file is called; of Pillow's others some start programs (EPS: Ghostscript)."""

_ROWS = 64  # of a picture laid over white at a time

# What Pillow raises on broken files beside OSError (which covers "cannot identify" and "truncated").
_BROKEN = (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, MemoryError, struct.error, zlib.error)


def read_picture(path: str | os.PathLike[str]) -> np.ndarray:
    """Read one picture as ``(H, W, 3)`` uint8 RGB, turned upright by its EXIF orientation.

    Gray is repeated; a palette is looked up; CMYK is converted; 16-bit gray is divided by 257 (full range to full range);
    transparent pictures (RGBA, gray with alpha, transparent palette entries) are laid over white. Animations give their
    first picture. Embedded colour profiles are ignored, as the field's training pipelines do.

    Raises: DataError if the file is missing, broken, cut off, larger than ``max_pixels`` (or Pillow's own
        ``Image.MAX_IMAGE_PIXELS``) or no picture of one, three or four channels.
    """
    source = Path(path)
    with open_picture(source) as image:
        turn = exif_turn(image)
        return turn_upright(picture_to_rgb(image, source), turn)


@contextmanager
def open_picture(path: str | os.PathLike[str], content: BinaryIO | None = None) -> Iterator["Image.Image"]:
    """Open a stranger's picture with Pillow: known formats only, its size checked before anything is decoded.

    What goes wrong inside the ``with`` block (decoding is lazy) is reported as for opening.

    Args:
        path: the file.
        content: its bytes, where they come from elsewhere (an archive); ``path`` then only names them in messages.

    Raises: DataError naming the file if it is missing, broken, cut off, of another format, or larger than ``max_pixels``
        (or Pillow's own ``Image.MAX_IMAGE_PIXELS``).
    """
    from PIL import Image

    source = Path(path)
    limit = max_pixels()
    if limit > DEFAULT_PIXELS and Image.MAX_IMAGE_PIXELS is not None:  # raised by the user: Pillow must not stand in the way
        Image.MAX_IMAGE_PIXELS = max(limit, Image.MAX_IMAGE_PIXELS)
    limit = min(limit, Image.MAX_IMAGE_PIXELS or limit)
    try:
        with Image.open(source if content is None else content, formats=PICTURE_FORMATS) as image:
            check_pixels(image.height, image.width, str(source), limit)
            yield image
    except DataError:
        raise
    except VideoError as error:
        raise DataError(str(error)) from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{source}: declares more than {limit / 1e6:.0f} megapixels. Scale the picture down first.") from error
    except FileNotFoundError as error:
        raise DataError(f"{source}: no such file. Expected a picture; check the folder.") from error
    except Image.UnidentifiedImageError as error:
        reason = _unidentified(source, content)
        raise DataError(
            f"{source}: cannot be read as a picture: it {reason}. Expected a picture such as JPEG or PNG."
        ) from error
    except _BROKEN as error:
        raise DataError(f"{source}: cannot be read as a picture ({describe(error)}). Replace or remove the file.") from error


def exif_turn(image: "Image.Image") -> Turn:
    """The turn that EXIF asks for; a garbage EXIF block says nothing about the pixels."""
    try:
        return turn_from_exif(image.getexif().get(0x0112))
    except _BROKEN:
        return UPRIGHT


def _unidentified(source: Path, content: BinaryIO | None) -> str:
    if (source.stat().st_size if content is None else content.seek(0, os.SEEK_END)) == 0:
        return "is empty (0 bytes)"
    return "is no picture that can be shown as RGB (unknown format, or an unusual number of channels)"


def picture_to_rgb(image: "Image.Image", source: str | os.PathLike[str]) -> np.ndarray:
    """``(H, W, 3)`` uint8 from any mode of Pillow that has a meaning as a colour picture, not turned by EXIF.

    Raises: DataError naming ``source`` for other modes; what Pillow raises on broken files.
    """
    if image.mode.startswith("I;16") or image.mode == "I":
        values = np.asarray(image).astype(np.int32)  # (H, W)
        if values.min() < 0 or values.max() > 65535:
            raise DataError(f"{source}: has values from {values.min()} to {values.max()}. Expected 8 or 16 bits a channel.")
        gray = ((values + 128) // 257).astype(np.uint8)
        return np.repeat(gray[:, :, None], 3, axis=2)
    if image.mode == "F":
        raise DataError(f"{source}: is a picture of floating-point numbers. Expected 8 or 16 bits a channel.")
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        return over_white(np.asarray(image.convert("RGBA")))
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def over_white(rgba: np.ndarray) -> np.ndarray:
    """Lay ``(H, W, 4)`` uint8 RGBA over white; ``(H, W, 3)`` uint8. Opaque pixels keep their colour exactly."""
    out = np.empty((*rgba.shape[:2], 3), np.uint8)
    for top in range(0, len(rgba), _ROWS):  # a few rows at a time: the numbers between take ten times the picture
        rows = rgba[top : top + _ROWS]
        alpha = rows[:, :, 3:].astype(np.uint32)  # (rows, W, 1)
        out[top : top + _ROWS] = (rows[:, :, :3] * alpha + 255 * (255 - alpha) + 127) // 255
    return out


def natural_key(path: Path) -> tuple[object, ...]:
    """Sort key that puts frame 2 before frame 10, folder by folder, without regard to case."""
    parts = (*path.parent.parts, path.stem)
    numbered = tuple(
        tuple(int(piece) if number % 2 else piece for number, piece in enumerate(re.split("([0-9]+)", part.casefold())))
        for part in parts
    )
    return (numbered, path.name)


def list_pictures(folder: str | os.PathLike[str], recursive: bool = False) -> list[Path]:
    """Pictures of a folder in natural order; hidden files (``._a.jpg``, ``.DS_Store``) and other types are passed over.

    Raises: VideoError if the folder is missing or holds no picture; it names the extensions looked for.
    """
    root = Path(folder)
    try:
        found = _visible_pictures(root, recursive)
        if found:
            return found
        below = "" if recursive else _first_folder_with_pictures(root)
    except OSError as error:
        raise VideoError(f"{root}: cannot be listed ({describe(error)}). Expected a folder of pictures.") from error
    looked_for = ", ".join(f"*{suffix}" for suffix in PICTURE_SUFFIXES)
    raise VideoError(f"{root}: holds no picture. Looked for {looked_for} (any case).{below}")


def _visible_pictures(root: Path, recursive: bool) -> list[Path]:
    candidates = root.rglob("*") if recursive else root.iterdir()
    kept = [
        path
        for path in candidates
        if path.suffix.lower() in PICTURE_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
        and path.is_file()
    ]
    return sorted(kept, key=natural_key)


def _first_folder_with_pictures(root: Path) -> str:
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        if _visible_pictures(folder, recursive=False):
            return f" Its sub-folder {folder.name} has some: give that one."
    return ""
