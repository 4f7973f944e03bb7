"""The images that an annotation file lists: its records of them, and whether they lie on disk at the stated size."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dense.data.formats.records import integer_field, list_of_records, unique
from dense.errors import DataError

__all__ = ["ImageEntry", "check_image_files", "picture_size", "read_image_entries"]


@dataclass(frozen=True)
class ImageEntry:
    """One image as listed: id, size in pixels (upright, as seen), file name relative to the image folder."""

    id: int
    width: int
    height: int
    file_name: str


def read_image_entries(top: Mapping[str, Any], path: str) -> dict[int, ImageEntry]:
    """The ``images`` of a file by id, in the file's order.

    Raises: DataError naming ``path`` and the record if a field is missing or wrong, or an id doubled.
    """
    seen: dict[int, str] = {}
    images = {}
    for index, record in enumerate(list_of_records(top, "images", path)):
        where = f"{path}: images[{index}]"
        identity = integer_field(record, "id", where)
        unique(identity, where, seen)
        where = f"{where} (id {identity})"
        name = record.get("file_name")
        if not isinstance(name, str) or not name:
            raise DataError(f"{where}: `file_name` is {name!r}, expected text.")
        height, width = (integer_field(record, side, where, minimum=1) for side in ("height", "width"))
        images[identity] = ImageEntry(identity, width, height, name)
    return images


def check_image_files(path: str, root: Path, images: Iterable[ImageEntry]) -> None:
    """Make sure that every image is on disk and of the stated size (only headers are read).

    Raises: DataError naming the picture, the image and ``path``.
    """
    for image in images:
        file = root / image.file_name
        if not file.is_file():
            raise DataError(f"{path}: image {image.id} is not on disk, expected {file}. Check the image folder.")
        width, height = picture_size(file)
        if (width, height) != (image.width, image.height):
            raise DataError(
                f"{file}: picture is {width}x{height} (width x height), {path} says {image.width}x{image.height}"
                f" for image {image.id}. Correct the size or the picture."
            )


def picture_size(path: Path) -> tuple[int, int]:
    """(width, height) in pixels of a picture turned upright by its EXIF orientation; only the header is read.

    Raises: DataError if it is no picture.
    """
    from PIL import Image

    from dense.video.orientation import turn_from_exif

    try:
        with Image.open(path) as image:
            turned = turn_from_exif(image.getexif().get(0x0112)).transpose
            return (image.height, image.width) if turned else (image.width, image.height)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be read as a picture ({error}). Replace the file.") from error
