"""Captions in tar files in the layout of webdataset: ``KEY.jpg`` with ``KEY.txt``, or with ``KEY.json`` that has a caption."""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from dense.data.formats.caption_sets import clean_captions, decode_captions
from dense.data.formats.caption_tables import CAPTION_COLUMNS
from dense.data.formats.picture_sets import NameTable
from dense.data.formats.picture_shards import TarPictures, read_member, read_shards
from dense.errors import DataError, shown
from dense.io import parse_json

__all__ = ["TarCaptions", "read_caption_shards"]


@dataclass(frozen=True)
class TarCaptions:
    """Samples of tar files; no state is shared between processes.

    Attributes:
        pictures: their pictures.
        text_names: members with the captions, empty where a sample has none.
        text_places: ``(N, 2)`` int64: offset and size in bytes.
        column: key of the caption in JSON members; empty = a usual one.
    """

    pictures: TarPictures
    text_names: NameTable
    text_places: NDArray[np.int64]
    column: str = ""

    def __len__(self) -> int:
        return len(self.pictures)

    def name(self, index: int) -> str:
        """Path of the shard and the picture's member."""
        return self.pictures.name(index)

    def content(self, index: int) -> BinaryIO:
        """The picture's bytes; errors as ``TarPictures``."""
        return self.pictures.content(index)

    def captions(self, index: int) -> tuple[str, ...]:
        """Lines of the text, or what the JSON object has. Raises: DataError if it cannot be read or has no caption."""
        member = self.text_names[index]
        if not member:
            raise DataError(
                f"{self.name(index)}: has no caption. Expected a member of the same key that ends in .txt or .json."
            )
        shard: Path = self.pictures.shards[int(self.pictures.places[index, 0])]
        where = f"{shard}/{member}"
        offset, size = map(int, self.text_places[index])
        text = decode_captions(read_member(shard, offset, size, where), where)
        if not member.lower().endswith(".json"):
            return clean_captions(text.splitlines(), where)
        content = parse_json(text, where)
        names = (self.column,) if self.column else CAPTION_COLUMNS
        if not isinstance(content, dict) or not any(name in content for name in names):
            raise DataError(f"{where}: is {shown(content)}, expected an object with `{'` or `'.join(names)}`.")
        return clean_captions(next(content[name] for name in names if name in content), where)


def read_caption_shards(pattern: str, column: str = "") -> TarCaptions:
    """The samples of all shards that ``pattern`` means; errors as ``read_picture_shards``."""
    shards, members = read_shards(pattern)
    places = np.asarray([(shard, member.offset, member.size) for shard, member in members], np.int64).reshape(-1, 3)
    texts = np.asarray([(member.text_offset, member.text_size) for _, member in members], np.int64).reshape(-1, 2)
    pictures = TarPictures(shards, NameTable(member.picture for _, member in members), places)
    return TarCaptions(pictures, NameTable(member.text for _, member in members), texts, column)
