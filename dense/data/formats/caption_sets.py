"""Pictures with captions: text files beside pictures, and lists of captions held in one block of memory.

A picture may have several captions, or none that says anything: who draws one decides what to do then.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from dense.data.formats.image_files import read_image_entries
from dense.data.formats.picture_sets import FilePictures, NameTable, PictureSet, read_picture_folder
from dense.data.formats.records import integer_field, numbered_records
from dense.errors import DataError, shown
from dense.io import read_json
from dense.video.frames import describe

__all__ = [
    "CaptionedPictures",
    "FolderCaptions",
    "ListedCaptions",
    "clean_captions",
    "decode_captions",
    "read_caption_folder",
    "read_coco_captions",
]

_UNUSABLE = re.compile("[\\s\x00-\x1f\x7f-\x9f\ud800-\udfff]+")  # spaces, control characters, halves of characters
_LARGEST = 1 << 20  # bytes of the captions of one picture


class CaptionedPictures(PictureSet, Protocol):
    """Pictures by number, each with its captions."""

    def captions(self, index: int) -> tuple[str, ...]:
        """Captions that say something, in one line each; there may be none. Raises: DataError if they cannot be read."""
        ...


def clean_captions(values: object, where: str) -> tuple[str, ...]:
    """Captions from a file: a text, a list of them, or nothing; runs of spaces become one, empty ones are left out.

    Raises: DataError naming ``where`` for anything else.
    """
    found = []
    for value in values if isinstance(values, list) else [values]:
        if value is not None and not isinstance(value, str):
            raise DataError(f"{where}: caption is {shown(value)}, expected text or a list of texts.")
        found.append(_UNUSABLE.sub(" ", value or "").strip())
    return tuple(caption for caption in found if caption)


def decode_captions(data: bytes, where: str) -> str:
    """The text of a file of captions. Raises: DataError naming ``where`` unless it is UTF-8 of at most 1 MB."""
    if len(data) > _LARGEST:
        raise DataError(f"{where}: has more than {_LARGEST} bytes, expected the captions of one picture.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: is not UTF-8 text (byte {error.start}). Expected a caption.") from error


@dataclass(frozen=True)
class FolderCaptions(FilePictures):
    """Pictures with a text file of the same name beside each, one caption a line."""

    def captions(self, index: int) -> tuple[str, ...]:
        """Lines of the text file. Raises: DataError if it is missing or cannot be read."""
        path = (self.root / self.names[index]).with_suffix(".txt")
        try:
            with path.open("rb") as stream:
                data = stream.read(_LARGEST + 1)
        except OSError as error:
            raise DataError(
                f"{path}: cannot be read ({describe(error)}). Expected the caption of {self.name(index)}."
            ) from error
        return clean_captions(decode_captions(data, str(path)).splitlines(), str(path))


@dataclass(frozen=True)
class ListedCaptions:
    """Pictures whose captions stand in a list.

    Attributes:
        pictures: where they are.
        texts: all captions, those of one picture together.
        starts: ``(N + 1,)`` int64: those of picture k are ``texts[starts[k] : starts[k + 1]]``.
    """

    pictures: PictureSet
    texts: NameTable
    starts: NDArray[np.int64]

    @classmethod
    def of_files(cls, root: Path, captions: Mapping[str, Iterable[str]]) -> "ListedCaptions":
        """Picture files below ``root`` by name, with their captions."""
        lists = [tuple(texts) for texts in captions.values()]
        starts = np.cumsum([0, *map(len, lists)], dtype=np.int64)
        return cls(FilePictures(root, NameTable(captions)), NameTable(text for texts in lists for text in texts), starts)

    def __len__(self) -> int:
        return len(self.pictures)

    def name(self, index: int) -> str:
        """Path of the picture."""
        return self.pictures.name(index)

    def content(self, index: int) -> BinaryIO | None:
        """As ``PictureSet``."""
        return self.pictures.content(index)

    def captions(self, index: int) -> tuple[str, ...]:
        """Those of the list."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        return tuple(self.texts[k] for k in range(int(self.starts[index]), int(self.starts[index + 1])))


def read_caption_folder(root: Path) -> FolderCaptions:
    """Pictures of a folder and all below, each with its ``.txt``; only the pictures are looked for here.

    Raises: DataError as ``read_picture_folder``.
    """
    found = read_picture_folder(root)
    return FolderCaptions(found.root, found.names)


def read_coco_captions(json_path: Path, image_root: Path) -> ListedCaptions:
    """A file of COCO captions: ``images``, and ``annotations`` with image_id and caption.

    Images of equal ``file_name`` are one. Raises: DataError naming file and record; or if no image is listed.
    """
    top = read_json(json_path)
    if not isinstance(top, dict):
        raise DataError(f"{json_path}: is {shown(top)}, expected an object with images and annotations.")
    images = read_image_entries(top, str(json_path))
    if not images:
        raise DataError(f"{json_path}: lists no image. Expected at least one in images.")
    captions: dict[str, list[str]] = {entry.file_name: [] for entry in images.values()}
    for index, record in numbered_records(top, "annotations", str(json_path)):
        where = f"{json_path}: annotations[{index}]"
        identity = integer_field(record, "image_id", where)
        if identity not in images:
            raise DataError(f"{where}: image_id {identity} is not in `images`.")
        if "caption" not in record:
            raise DataError(f"{where}: `caption` is missing. Give a file of captions, not one of instances.")
        captions[images[identity].file_name] += clean_captions(record["caption"], where)
    return ListedCaptions.of_files(image_root, captions)
