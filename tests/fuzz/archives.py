"""Readers of pictures in archives: tar shards and zip files with a list."""

import io
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from dense.data.formats.picture_sets import PictureSet
from dense.data.formats.picture_shards import read_picture_shards
from dense.data.formats.picture_zip import read_picture_zip
from dense.data.mappers.views import ViewMapper, ViewSettings
from dense.data.transforms.views import VIEW_MODES

from .byte_mutations import mutate_bytes
from .invariants import require
from .reader import Reader, Sample

__all__ = ["ARCHIVE_READERS"]

_NAMES = ("a/1.png", "a/2.jpg")
_VIEWS = ViewSettings(8, (0.2, 1.0), VIEW_MODES["BYOL"])


def _members() -> list[tuple[str, bytes]]:
    members = []
    for name in _NAMES:
        stream = io.BytesIO()
        Image.fromarray(np.full((16, 24, 3), 90, np.uint8)).save(stream, "PNG" if name.endswith("png") else "JPEG")
        members.append((name, stream.getvalue()))
    return members


def _tars(folder: Path) -> list[Sample]:
    samples = []
    for kind in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=kind) as archive:
            for name, data in _members():
                entry = tarfile.TarInfo(name if kind == tarfile.USTAR_FORMAT else "ü" * 120 + name)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
        samples.append(Sample(".tar", stream.getvalue()))
    return samples


def _zips(folder: Path) -> list[Sample]:
    (folder / "map.txt").write_text("".join(f"{name}\t0\n" for name in _NAMES), encoding="utf-8")
    samples = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", method) as archive:
            for name, data in _members():
                archive.writestr(name, data)
        samples.append(Sample(".zip", stream.getvalue()))
    return samples


def _check(pictures: PictureSet) -> None:
    require(len(pictures) > 0, "no picture and no error")
    record = ViewMapper(pictures, _VIEWS, pictures.name(0))(0, np.random.default_rng(0))
    require(tuple(record["views"].shape) == (2, 3, 8, 8), f"{record['views'].shape}")
    require(bool((record["coords"] >= 0).all() and (record["coords"] <= 1).all()), f"{record['coords']}")


def _read_tar(path: Path) -> None:
    _check(read_picture_shards(str(path)))


def _read_zip(path: Path) -> None:
    _check(read_picture_zip(path, path.with_name("map.txt")))


ARCHIVE_READERS: Sequence[Reader] = (
    Reader("picture_shards", _tars, mutate_bytes, _read_tar),
    Reader("picture_zip", _zips, mutate_bytes, _read_zip),
)
