"""Unlabelled pictures in great numbers: a list of names that takes little memory, and the pictures of a folder.

The names of a million pictures as Python strings would be copied into every worker (touching a string counts its references);
one block of bytes is shared.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from dense.data.formats.image_files import read_image_entries
from dense.errors import DataError, shown
from dense.io import read_json
from dense.video.frames import describe
from dense.video.pictures import PICTURE_SUFFIXES

__all__ = [
    "UNLABELLED_SUFFIXES",
    "FilePictures",
    "NameTable",
    "PictureSet",
    "read_coco_pictures",
    "read_named_pictures",
    "read_picture_folder",
]

UNLABELLED_SUFFIXES = (*PICTURE_SUFFIXES, ".gif", ".jfif", ".jpe", ".pgm", ".pnm", ".ppm")
"""Extensions of pictures without labels, compared without regard to case."""


class PictureSet(Protocol):
    """Pictures by number."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def name(self, index: int) -> str:
        """Path of the file, or of the archive and the member inside it."""
        ...

    def content(self, index: int) -> BinaryIO | None:
        """The file's bytes; ``None`` = they are those of the file called ``name(index)``. Raises: DataError naming it."""
        ...


class NameTable:
    """A list of file names as one block of bytes and where each begins, ``(N + 1,)`` int64."""

    def __init__(self, names: Iterable[str]) -> None:
        encoded = [os.fsencode(name) for name in names]
        self._bytes = b"".join(encoded)
        self._starts: NDArray[np.int64] = np.cumsum([0, *map(len, encoded)], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, index: int) -> str:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return os.fsdecode(self._bytes[self._starts[index] : self._starts[index + 1]])

    def __iter__(self) -> Iterator[str]:
        return (self[index] for index in range(len(self)))


@dataclass(frozen=True)
class FilePictures:
    """Picture files below ``root``; ``names`` are relative to it."""

    root: Path
    names: NameTable

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        """Path of the file."""
        return str(self.root / self.names[index])

    def content(self, index: int) -> BinaryIO | None:
        """``None``: the file holds the picture."""
        return None


def read_picture_folder(root: Path) -> FilePictures:
    """Pictures of a folder and all folders below, sorted by path whatever the file system's order.

    Hidden files and folders are passed over. Links are followed, each folder once, so that a loop of links ends. A link to
    nothing is listed: it is a picture that cannot be read, and whoever reads it shall say so.
    Raises: DataError if ``root`` is no folder, cannot be listed or holds no picture.
    """
    if not root.is_dir():
        raise DataError(f"{root}: is no folder. Expected a folder of pictures.")
    names = sorted(path.relative_to(root).as_posix() for path in _walk(root))
    if not names:
        archives = any(path.suffix.lower() == ".tar" for path in root.iterdir())
        hint = f" For its tar shards write {root}/*.tar." if archives else ""
        raise DataError(
            f"{root}: holds no picture. Looked in all folders below for {', '.join(UNLABELLED_SUFFIXES)} (any case).{hint}"
        )
    return FilePictures(root, NameTable(names))


def _walk(root: Path) -> Iterator[Path]:
    seen: set[tuple[int, int]] = set()
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as listed:
                entries = sorted(listed, key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            raise DataError(f"{folder}: cannot be listed ({describe(error)}). Expected a folder of pictures.") from error
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                waiting.append(folder / entry.name)
            elif Path(entry.name).suffix.lower() in UNLABELLED_SUFFIXES and (entry.is_symlink() or entry.is_file()):
                yield folder / entry.name


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def read_coco_pictures(json_path: Path, image_root: Path) -> FilePictures:
    """The images that a COCO file lists, annotated or not, in the file's order.

    Raises: DataError as ``read_image_entries``, or if there is none.
    """
    top = read_json(json_path)
    if not isinstance(top, dict):
        raise DataError(f"{json_path}: is {shown(top)}, expected an object with a list of images.")
    entries = read_image_entries(top, str(json_path))
    if not entries:
        raise DataError(f"{json_path}: lists no image. Expected at least one in images.")
    return FilePictures(image_root, NameTable(entry.file_name for entry in entries.values()))


def read_named_pictures(list_path: Path, image_root: Path, suffix: str) -> FilePictures:
    """The pictures that a text file names, one a line without ``suffix``, in the file's order (Pascal VOC's ImageSets).

    Raises: DataError if the list cannot be read or is empty.
    """
    try:
        lines = list_path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{list_path}: cannot be read ({describe(error)}). Expected one name of a picture a line.") from error
    names = [line.split()[0] + suffix for line in lines if line.strip()]
    if not names:
        raise DataError(f"{list_path}: is empty. Expected one name of a picture a line.")
    return FilePictures(image_root, NameTable(names))
