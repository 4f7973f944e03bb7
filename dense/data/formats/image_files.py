"""The images that an annotation file lists: its records of them, and whether they lie on disk at the stated size."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dense.data.formats.faults import RAISE_FIRST, Faults
from dense.data.formats.records import integer_field, numbered_records, size_fields, text_field, unique
from dense.errors import DataError
from dense.video.pictures import exif_turn, open_picture

__all__ = ["ImageEntry", "check_image_files", "check_picture_file", "picture_size", "read_image_entries"]


@dataclass(frozen=True)
class ImageEntry:
    """One image as listed: id, size in pixels (upright, as seen), file name relative to the image folder."""

    id: int
    width: int
    height: int
    file_name: str


def read_image_entries(top: Mapping[str, Any], path: str, faults: Faults = RAISE_FIRST) -> dict[int, ImageEntry]:
    """The ``images`` of a file by id, in the file's order.

    Raises: DataError naming ``path`` and the record if a field is missing or wrong, or an id doubled.
    """
    seen: dict[int, str] = {}
    images: dict[int, ImageEntry] = {}
    for index, record in numbered_records(top, "images", path, faults):
        where = f"{path}: images[{index}]"
        identity = faults.attempt("image record", integer_field, record, "id", where)
        if identity is None:
            continue
        faults.attempt("duplicate id", unique, identity, where, seen)
        where = f"{where} (id {identity})"
        name = faults.attempt("image record", text_field, record, "file_name", where)
        size = faults.attempt("image record", size_fields, record, where)
        if name is None or size is None:
            faults.lose("images", identity)
        else:
            images.setdefault(identity, ImageEntry(identity, size[1], size[0], name))
    return images


def check_image_files(path: str, root: Path, images: Iterable[ImageEntry]) -> None:
    """Make sure that every image is on disk and of the stated size (only headers are read).

    Raises: DataError naming the picture, the image and ``path``.
    """
    for image in images:
        check_picture_file(path, root / image.file_name, f"image {image.id}", (image.width, image.height))


def check_picture_file(path: str, file: Path, what: str, size: tuple[int, int]) -> None:
    """Make sure that the picture of one image is on disk and of (width, height) = ``size``.

    Args:
        path: the annotation file, for messages.
        file: the picture.
        what: which image it is, for messages: ``image 12``.
        size: in pixels, as the annotation file states it.

    Raises: DataError as ``check_image_files``.
    """
    if not file.is_file():
        raise DataError(f"{path}: {what} is not on disk, expected {file}. Check the image folder.")
    width, height = picture_size(file)
    if (width, height) != size:
        raise DataError(
            f"{file}: picture is {width}x{height} (width x height), {path} says {size[0]}x{size[1]}"
            f" for {what}. Correct the size or the picture."
        )


def picture_size(path: Path) -> tuple[int, int]:
    """(width, height) in pixels of a picture turned upright by its EXIF orientation; only the header is read.

    Raises: DataError if it is no picture.
    """
    with open_picture(path) as image:
        return (image.height, image.width) if exif_turn(image).transpose else (image.width, image.height)
