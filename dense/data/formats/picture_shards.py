"""Pictures inside tar files in the layout of webdataset, read at random through an index that is built once.

A sample is the members of one key (the name up to the first dot of its last part); its picture is the first member whose
extension, all that follows that dot, is one of a picture: ``0001.jpg``, but not ``0001.mask.png``. Its text, which only
captions need, is ``0001.txt``, else ``0001.json``. Beside each ``SHARD.tar`` lies ``SHARD.tar.index.json`` afterwards: where
each picture and its text begin, with a fingerprint of the shard. It is built again when the shard has changed; where it cannot
be written, it is built each time.
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
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dense.data.formats.picture_sets import UNLABELLED_SUFFIXES, NameTable
from dense.errors import ConfigError, DataError
from dense.io import read_json, write_json
from dense.video.frames import describe

__all__ = ["ShardMember", "TarPictures", "expand_shards", "read_member", "read_picture_shards", "read_shards"]

logger = logging.getLogger(__name__)

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d{1,9})\.\.(\d{1,9})")
_MOST_SHARDS = 1_000_000
_ENDS = 1 << 16  # bytes at either end that are part of the fingerprint
_VERSION = 2
_TEXTS = (".txt", ".json")  # the first one that a sample has


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
        return io.BytesIO(read_member(self.shards[shard], offset, size, self.name(index)))


def read_member(shard: Path, offset: int, size: int, name: str) -> bytes:
    """The bytes of one member. Raises: DataError naming it if the shard cannot be read or has become shorter."""
    try:
        with shard.open("rb") as stream:
            stream.seek(offset)
            data = stream.read(size)
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({describe(error)}). Copy the shard again.") from error
    if len(data) != size:
        raise DataError(f"{name}: is cut off. Copy the shard again.")
    return data


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
    shards, members = read_shards(pattern)
    return TarPictures(
        shards,
        NameTable(member.picture for _, member in members),
        np.asarray([(shard, member.offset, member.size) for shard, member in members], np.int64).reshape(-1, 3),
    )


def read_shards(pattern: str) -> tuple[tuple[Path, ...], list[tuple[int, "ShardMember"]]]:
    """The shards, and their samples in order, each with the number of its shard; errors as ``read_picture_shards``."""
    shards = tuple(expand_shards(pattern))
    members = [(number, member) for number, shard in enumerate(shards) for member in _index(shard)]
    if not members:
        raise DataError(f"{pattern}: no picture in {len(shards)} tar files. Expected members such as KEY.jpg or KEY.png.")
    return shards, members


class ShardMember(NamedTuple):
    """A sample: its picture's name, offset and size in bytes, and the same of its text (no name: there is none)."""

    picture: str
    offset: int
    size: int
    text: str = ""
    text_offset: int = 0
    text_size: int = 0


Part = tuple[str, int, int]  # name, offset, size of a member


def _index(shard: Path) -> list[ShardMember]:
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


def _kept(place: Path, fingerprint: dict[str, Any]) -> list[ShardMember] | None:
    """Entries of a stored index; ``None`` if there is none, it is of another state of the shard, or it is broken."""
    if not place.is_file():
        return None
    try:
        stored = read_json(place)
        if stored["shard"] != fingerprint:
            return None
        entries = [ShardMember(str(a), int(b), int(c), str(d), int(e), int(f)) for a, b, c, d, e, f in stored["pictures"]]
    except (DataError, KeyError, TypeError, ValueError, OverflowError):
        return None
    parts = [(e.offset, e.size) for e in entries] + [(e.text_offset, e.text_size) for e in entries]
    inside = all(offset >= 0 and size >= 0 and offset + size <= fingerprint["size"] for offset, size in parts)
    return entries if inside else None


def _scan(shard: Path) -> list[ShardMember]:
    pictures: dict[str, Part] = {}
    texts: dict[str, tuple[int, Part]] = {}  # by key: rank of the extension, member
    length = shard.stat().st_size
    try:
        with tarfile.open(shard, "r:") as archive:
            for member in archive:
                key, extension = _key(member.name)
                part = member.name, member.offset_data, member.size
                if not member.isreg() or member.issparse() or member.offset_data + member.size > length:
                    pass  # no member whose bytes are all there
                elif extension in UNLABELLED_SUFFIXES:
                    pictures.setdefault(key, part)
                elif extension in _TEXTS:
                    texts[key] = min(texts.get(key, (len(_TEXTS), part)), (_TEXTS.index(extension), part))
                archive.members = []  # type: ignore[attr-defined]  # the archive keeps every header otherwise
    except (tarfile.TarError, OSError, ValueError, EOFError, IndexError, OverflowError) as error:
        if not pictures:
            raise DataError(
                f"{shard}: cannot be read as a tar file ({describe(error)}). Expected an uncompressed tar file."
            ) from error
        logger.warning("%s: is cut off or damaged (%s); its first %d pictures are used", shard, describe(error), len(pictures))
    return [ShardMember(*part, *texts[key][1]) if key in texts else ShardMember(*part) for key, part in pictures.items()]


def _key(name: str) -> tuple[str, str]:
    """Key of a member's sample, and its extension in lower case (none for hidden files)."""
    folder, _, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    return f"{folder}/{stem}", f".{extension.lower()}" if stem else ""
