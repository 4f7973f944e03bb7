"""Pictures inside one zip file with a list of them (``train.zip`` and ``train_map.txt``): ImageNet as a single file.

Each line of the list has a member's path, a tab and a label; the label is not used here.
"""

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from dense.data.formats.picture_sets import UNLABELLED_SUFFIXES, NameTable
from dense.errors import DataError, shown
from dense.video.frames import describe

__all__ = ["ZipPictures", "read_picture_zip"]

_LOCAL_HEADER = struct.Struct("<4s5H3I2H")  # before each member: it alone knows where the data begins
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_LARGEST = 1 << 29  # bytes of one picture file


@dataclass(frozen=True)
class ZipPictures:
    """Members of a zip file, read at random: no state is shared between processes.

    Attributes:
        path: the zip file.
        names: members.
        places: ``(N, 5)`` int64: offset of the local header, stored size, size, CRC-32, method (0 stored, 8 deflated).
    """

    path: Path
    names: NameTable
    places: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        """Path of the zip file and the member."""
        return f"{self.path}/{self.names[index]}"

    def content(self, index: int) -> BinaryIO:
        """The member's bytes. Raises: DataError if they cannot be read or are not what the directory of the zip says."""
        offset, stored, size, checksum, method = map(int, self.places[index])
        try:
            with self.path.open("rb") as stream:
                stream.seek(offset)
                header = _LOCAL_HEADER.unpack(stream.read(_LOCAL_HEADER.size))
                stream.seek(header[-2] + header[-1], io.SEEK_CUR)  # its own name and extra field
                data = stream.read(min(stored, _LARGEST))
            if method == zipfile.ZIP_DEFLATED:
                data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, min(size, _LARGEST) + 1)
        except (OSError, struct.error, zlib.error) as error:
            raise DataError(f"{self.name(index)}: cannot be read ({describe(error)}). Copy the zip file again.") from error
        if len(data) != size or zlib.crc32(data) != checksum:
            raise DataError(f"{self.name(index)}: is damaged (its checksum differs). Copy the zip file again.")
        return io.BytesIO(data)


def read_picture_zip(path: Path, map_path: Path) -> ZipPictures:
    """The members of ``path`` that ``map_path`` lists, in its order.

    Raises: DataError if either cannot be read, a listed member is missing, or none is listed.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {entry.filename: entry for entry in archive.infolist()}
    except (OSError, zipfile.BadZipFile, NotImplementedError, struct.error, ValueError) as error:
        raise DataError(
            f"{path}: cannot be read as a zip file ({describe(error)}). Expected a zip file of pictures."
        ) from error
    names = _listed(map_path)
    places = np.zeros((len(names), 5), np.int64)
    for row, name in zip(places, names, strict=True):
        entry = members.get(name)
        if entry is None:
            raise DataError(f"{map_path}: lists {shown(name)}, which is not in {path}. Give the list of this zip file.")
        if entry.compress_type not in _METHODS or entry.flag_bits & 1:
            raise DataError(f"{path}: {shown(name)} is encrypted or packed by an unusual method. Expected stored or deflated.")
        row[:] = entry.header_offset, entry.compress_size, entry.file_size, entry.CRC, entry.compress_type
    return ZipPictures(path, NameTable(names), places)


def _listed(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({describe(error)}). Expected lines of path, tab, label.") from error
    names = [line.split("\t")[0].strip() for line in lines if line.strip()]
    kept = [name for name in names if Path(name).suffix.lower() in UNLABELLED_SUFFIXES]
    if not kept:
        raise DataError(f"{path}: lists no picture. Expected lines of path, tab, label.")
    return kept
