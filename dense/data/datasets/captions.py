"""Pictures with captions by name, for image-text pretraining (kind ``image_captions``), and one's own without registering.

Names below ``$DETECTRON2_DATASETS`` (default ``datasets``)::

    coco_2017_{train,val}_captions      coco/annotations/captions_{train,val}2017.json     coco/{train,val}2017
    world_words_captions                world_words/annotations/captions_train.json        world_words/images/train
    world_words_captions_valid          world_words/annotations/captions_valid.json        world_words/images/valid

The last two are written by ``tools/make_world.py --kind words``. Own data, where a configuration wants a name: ``FOLDER`` (each
picture with a text file of its name beside it: ``x.jpg``, ``x.txt``), ``CAPTIONS.json:IMAGES`` (COCO), ``TABLE.csv:IMAGES``
(also ``.tsv``, ``.jsonl``; without ``:IMAGES`` paths are relative to the table), ``SHARDS.tar`` with ``{000..003}``, ``{a,b}``,
``*`` (webdataset).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from dense.data.datasets.sources import check_present, unknown_place
from dense.data.datasets.video_instances import datasets_root
from dense.data.formats.caption_sets import CaptionedPictures, read_caption_folder, read_coco_captions
from dense.data.formats.caption_shards import read_caption_shards
from dense.data.formats.caption_tables import TABLE_SUFFIXES, read_caption_table

__all__ = ["CaptionSource", "caption_names", "resolve_captions"]

_FORMS = "FOLDER, CAPTIONS.json:IMAGES, TABLE.csv:IMAGES (.tsv, .jsonl) or SHARDS_{000..003}.tar"


@dataclass(frozen=True)
class CaptionSource:
    """Where pictures with captions lie.

    Attributes:
        name: registered, or the text that ``resolve_captions`` was given.
        reader: from the names of the columns with picture and caption (empty: the usual ones) to the set.
        present: what must exist.
        category_names: none.
    """

    name: str
    reader: Callable[[str, str], CaptionedPictures]
    present: tuple[Path, ...] = ()
    category_names: ClassVar[tuple[str, ...]] = ()

    def read(self, image_column: str = "", caption_column: str = "") -> CaptionedPictures:
        """Find pictures and captions; no picture is opened.

        Raises: DataError if something is missing or wrong; ConfigError for a column that a table does not have.
        """
        for path in self.present:
            check_present(self.name, path, path.exists())
        return self.reader(image_column, caption_column)


def _folder(root: Path, image_column: str, caption_column: str) -> CaptionedPictures:
    return read_caption_folder(root)


def _coco(json_path: Path, images: Path, image_column: str, caption_column: str) -> CaptionedPictures:
    return read_coco_captions(json_path, images)


def _shards(pattern: str, image_column: str, caption_column: str) -> CaptionedPictures:
    return read_caption_shards(pattern, caption_column)


def _sources() -> dict[str, CaptionSource]:
    coco, world = datasets_root() / "coco", datasets_root() / "world_words"
    places = {
        f"coco_2017_{split}_captions": (coco / f"annotations/captions_{split}2017.json", coco / f"{split}2017")
        for split in ("train", "val")
    }
    for name, split in (("world_words_captions", "train"), ("world_words_captions_valid", "valid")):
        places[name] = (world / f"annotations/captions_{split}.json", world / f"images/{split}")
    return {name: CaptionSource(name, partial(_coco, *paths), paths) for name, paths in places.items()}


def caption_names() -> tuple[str, ...]:
    """All registered names, sorted."""
    return tuple(sorted(_sources()))


def resolve_captions(name: str) -> CaptionSource:
    """Find pictures with captions by registered name, or by place in one of the forms above; nothing is read.

    Raises: ConfigError for a name that is neither, suggesting the nearest one; DataError for a path that does not exist.
    """
    sources = _sources()
    if name in sources:
        return sources[name]
    first, _, second = name.partition(":")
    place, suffix = Path(first).expanduser(), Path(first).suffix.lower()
    if Path(name).expanduser().is_dir():
        return CaptionSource(name, partial(_folder, Path(name).expanduser()))
    if name.lower().endswith(".tar"):
        return CaptionSource(name, partial(_shards, name))
    if suffix in TABLE_SUFFIXES:
        images = Path(second).expanduser() if second else place.parent
        return CaptionSource(name, partial(read_caption_table, place, images), (place, images))
    if suffix == ".json" and second:
        paths = place, Path(second).expanduser()
        return CaptionSource(name, partial(_coco, *paths), paths)
    raise unknown_place(name, sources, _FORMS)
