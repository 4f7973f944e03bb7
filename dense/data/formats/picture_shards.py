"""Pictures inside tar files in the layout of webdataset, read at random through an index that is built once.

A sample is the members of one key (the name up to the first dot of its last part); its picture is the first member whose
extension, all that follows that dot, is one of a picture: ``0001.jpg``, but not ``0001.mask.png``. Beside each ``SHARD.tar``
lies ``SHARD.tar.index.json`` afterwards: where each picture begins, with a fingerprint of the shard. It is built again when the
shard has changed; where it cannot be written, it is built each time.
"""

import glob
import hashlib
import io
import itertools
import logging
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from dense.data.formats.picture_sets import UNLABELLED_SUFFIXES, NameTable
from dense.errors import ConfigError, DataError
from dense.io import read_json, write_json
from dense.video.frames import describe

__all__ = ["TarPictures", "expand_shards", "read_picture_shards"]

logger = logging.getLogger(__name__)

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d{1,9})\.\.(\d{1,9})")
_MOST_SHARDS = 1_000_000
_ENDS = 1 << 16  # bytes at either end that are part of the fingerprint
_VERSION = 1


@dataclass(frozen=True)
class TarPictures:
    """Members of tar files; no state is shared between processes.

    Attributes:
        shards: the tar files.
        names: members.
        places: ``(N, 3)`` int64: number of the shard, offset in bytes, size in bytes.
    """

    shards: tuple[Path, ...]
    names: NameTable
    places: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        """Path of the shard and the member."""
        return f"{self.shards[int(self.places[index, 0])]}/{self.names[index]}"

    def content(self, index: int) -> BinaryIO:
        """The member's bytes. Raises: DataError if the shard cannot be read or has become shorter."""
        shard, offset, size = map(int, self.places[index])
        try:
            with self.shards[shard].open("rb") as stream:
                stream.seek(offset)
                data = stream.read(size)
        except OSError as error:
            raise DataError(f"{self.name(index)}: cannot be read ({describe(error)}). Copy the shard again.") from error
        if len(data) != size:
            raise DataError(f"{self.name(index)}: is cut off. Copy the shard again.")
        return io.BytesIO(data)


def expand_shards(pattern: str) -> list[Path]:
    """Files that a pattern means: ``{000..003}`` and ``{a,b}`` are spelt out, then ``*``, ``?`` and ``[…]`` are looked up.

    Raises: ConfigError for a range that runs backwards or a pattern of too many files; DataError if a file is missing or
        nothing matches.
    """
    found: list[Path] = []
    for name in _spelt_out(pattern):
        path = Path(name).expanduser()
        if path.is_file():
            found.append(path)
        elif glob.has_magic(name):
            found += [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207  a whole pattern
        else:
            raise DataError(f"{path}: no such file, but {pattern} names it. Correct the pattern.")
    if not found:
        raise DataError(f"{pattern}: no file matches. Expected tar files such as folder/{{000..003}}.tar or folder/*.tar.")
    return list(dict.fromkeys(found))


def _spelt_out(pattern: str) -> list[str]:
    parts = _BRACES.split(pattern)  # literal, inside of braces, literal, …
    choices = [_choices(part, pattern) if number % 2 else [part] for number, part in enumerate(parts)]
    count = 1
    for choice in choices:
        count *= len(choice)
    if count > _MOST_SHARDS:
        raise ConfigError(f"{pattern}: means {count} files, expected at most {_MOST_SHARDS}.")
    return ["".join(combination) for combination in itertools.product(*choices)]


def _choices(inside: str, pattern: str) -> list[str]:
    span = _RANGE.fullmatch(inside)
    if span is None:
        return inside.split(",")
    first, last = int(span[1]), int(span[2])
    if not first <= last < first + _MOST_SHARDS:
        raise ConfigError(f"{pattern}: {{{inside}}} is no range of at most {_MOST_SHARDS} numbers. Expected {{000..003}}.")
    return [str(number).zfill(len(span[1])) for number in range(first, last + 1)]


def read_picture_shards(pattern: str) -> TarPictures:
    """The pictures of all shards that ``pattern`` means, in the order of the shards and inside them.

    Raises: ConfigError, DataError as ``expand_shards``; DataError if a file is no tar file or none holds a picture.
    """
    shards = expand_shards(pattern)
    names: list[str] = []
    places: list[tuple[int, int, int]] = []
    for number, shard in enumerate(shards):
        for name, offset, size in _index(shard):
            names.append(name)
            places.append((number, offset, size))
    if not names:
        raise DataError(f"{pattern}: no picture in {len(shards)} tar files. Expected members such as KEY.jpg or KEY.png.")
    return TarPictures(tuple(shards), NameTable(names), np.asarray(places, np.int64).reshape(-1, 3))


Entry = tuple[str, int, int]  # name, offset, size


def _index(shard: Path) -> list[Entry]:
    """The index beside the shard if it fits, else a new one."""
    place = shard.with_name(f"{shard.name}.index.json")
    try:
        fingerprint = _fingerprint(shard)
    except OSError as error:
        raise DataError(f"{shard}: cannot be read ({describe(error)}). Expected a tar file.") from error
    kept = _kept(place, fingerprint)
    if kept is not None:
        return kept
    entries = _scan(shard)
    try:
        write_json(place, {"shard": fingerprint, "pictures": entries})
    except (DataError, UnicodeEncodeError) as error:
        logger.info("%s: the index of the shard is not kept (%s)", shard, error)
    return entries


def _fingerprint(shard: Path) -> dict[str, Any]:
    status = shard.stat()
    digest = hashlib.sha256()
    with shard.open("rb") as stream:
        digest.update(stream.read(_ENDS))
        stream.seek(max(status.st_size - _ENDS, 0))
        digest.update(stream.read(_ENDS))
    return {"version": _VERSION, "size": status.st_size, "changed": status.st_mtime_ns, "sha256": digest.hexdigest()}


def _kept(place: Path, fingerprint: dict[str, Any]) -> list[Entry] | None:
    """Entries of a stored index; ``None`` if there is none, it is of another state of the shard, or it is broken."""
    if not place.is_file():
        return None
    try:
        stored = read_json(place)
        if stored["shard"] != fingerprint:
            return None
        entries = [(str(name), int(offset), int(size)) for name, offset, size in stored["pictures"]]
    except (DataError, KeyError, TypeError, ValueError, OverflowError):
        return None
    inside = all(offset >= 0 and size >= 0 and offset + size <= fingerprint["size"] for _, offset, size in entries)
    return entries if inside else None


def _scan(shard: Path) -> list[Entry]:
    entries: dict[str, Entry] = {}
    length = shard.stat().st_size
    try:
        with tarfile.open(shard, "r:") as archive:
            for member in archive:
                key, is_picture = _key(member.name)
                whole = member.isreg() and not member.issparse() and member.offset_data + member.size <= length
                if whole and is_picture:
                    entries.setdefault(key, (member.name, member.offset_data, member.size))
                archive.members = []  # type: ignore[attr-defined]  # the archive keeps every header otherwise
    except (tarfile.TarError, OSError, ValueError, EOFError, IndexError, OverflowError) as error:
        if not entries:
            raise DataError(
                f"{shard}: cannot be read as a tar file ({describe(error)}). Expected an uncompressed tar file."
            ) from error
        logger.warning("%s: is cut off or damaged (%s); its first %d pictures are used", shard, describe(error), len(entries))
    return list(entries.values())


def _key(name: str) -> tuple[str, bool]:
    """Key of a member's sample, and whether the member is a picture (hidden files are none)."""
    folder, _, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    return f"{folder}/{stem}", bool(stem) and f".{extension.lower()}" in UNLABELLED_SUFFIXES
