"""Readers of pictures with captions: folders of texts, tables, COCO captions, tar shards."""

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from dense.data.formats.caption_sets import CaptionedPictures, read_caption_folder, read_coco_captions
from dense.data.formats.caption_shards import read_caption_shards
from dense.data.formats.caption_tables import read_caption_table
from dense.data.mappers.captions import CaptionMapper, CaptionSettings

from .byte_mutations import mutate_bytes
from .invariants import require
from .json_mutations import mutate_json
from .reader import Reader, Sample

__all__ = ["CAPTION_READERS"]


def _png() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((16, 24, 3), 90, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def _pictures(folder: Path) -> None:
    for name in ("1.png", "2.png"):
        (folder / name).write_bytes(_png())


def _tables(folder: Path) -> list[Sample]:
    _pictures(folder)
    rows = [("1.png", 'a "red" disc, large'), ("2.png", "zwei Schlüssel\nund ein Stern"), ("1.png", "")]
    quoted = "".join(f'{name},"{caption.replace(chr(34), chr(34) * 2)}"\n' for name, caption in rows)
    tabs = "".join(f"{name}\t{' '.join(caption.split())}\n" for name, caption in rows)
    lines = "".join(json.dumps({"image": name, "caption": [caption, None]}) + "\n" for name, caption in rows)
    return [
        Sample(".csv", f"image,caption\n{quoted}".encode()),
        Sample(".tsv", f"image\tcaption\n{tabs}".encode()),
        Sample(".jsonl", lines.encode()),
    ]


def _coco(folder: Path) -> list[Sample]:
    _pictures(folder)
    content = {
        "images": [{"id": k, "width": 24, "height": 16, "file_name": f"{k}.png"} for k in (1, 2)],
        "annotations": [{"id": k, "image_id": 1 + k % 2, "caption": f"number {k}"} for k in range(3)],
    }
    return [Sample(".json", json.dumps(content).encode())]


def _texts(folder: Path) -> list[Sample]:
    return [Sample(".txt", "a red disc\n\nein Schlüssel\n".encode())]


def _tars(folder: Path) -> list[Sample]:
    samples = []
    for kind in (tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=kind) as archive:
            members = [
                ("a/1.png", _png()),
                ("a/1.txt", b"a disc\na star"),
                ("2.json", b'{"caption": "a key"}'),
                ("2.png", _png()),
            ]
            for name, data in members:
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
        samples.append(Sample(".tar", stream.getvalue()))
    return samples


def _check(pictures: CaptionedPictures, path: Path) -> None:
    require(len(pictures) > 0, "no picture and no error")
    record = CaptionMapper(pictures, CaptionSettings(8), str(path))(0, np.random.default_rng(0))
    require(tuple(record["image"].shape) == (3, 8, 8), f"{record['image'].shape}")
    caption = record["caption"]
    require(bool(caption.strip()) and len(caption.splitlines()) == 1, f"caption {caption!r}")
    caption.encode("utf-8")


def _read_text(path: Path) -> None:
    """The mutated text file beside a sound picture, in a folder of their own."""
    folder = path.with_name(f"{path.stem} pictures")
    folder.mkdir(exist_ok=True)
    (folder / "x.png").write_bytes(_png())
    (folder / "x.txt").write_bytes(path.read_bytes())
    _check(read_caption_folder(folder), path)


CAPTION_READERS: Sequence[Reader] = (
    Reader("caption_table", _tables, mutate_bytes, lambda path: _check(read_caption_table(path, path.parent), path)),
    Reader("coco_captions", _coco, mutate_json, lambda path: _check(read_coco_captions(path, path.parent), path)),
    Reader("caption_text", _texts, mutate_bytes, _read_text),
    Reader("caption_shards", _tars, mutate_bytes, lambda path: _check(read_caption_shards(str(path)), path)),
)
