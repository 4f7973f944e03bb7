"""Pictures without labels by name, for pretraining (kind ``image_views``), and one's own without registering anything.

Names below ``$DETECTRON2_DATASETS`` (default ``datasets``)::

    imagenet_{train,val}                    imagenet/{train,val}/CLASS/*.JPEG; without that folder imagenet/{train,val}.zip
                                            with {train,val}_map.txt (path, tab, label)
    coco_2017_{train,val}_unlabelled        coco/{train,val}2017
    coco_2017_unlabeled                     coco/unlabeled2017
    voc_{2007,2012}_{train,val,trainval}_unlabelled     VOC{2007,2012}/JPEGImages, ImageSets/Main/{train,val,trainval}.txt
    world_images_unlabelled                 world_images/images/train          (tools/make_world.py --kind images)
    world_videos_unlabelled                 world/train/JPEGImages             (tools/make_world.py: every frame is a picture)

Own data, where a configuration wants a name: ``FOLDER`` (all folders below it too; also ImageNet's layout of one folder a
class), ``IMAGES.json:FOLDER`` (the list of a COCO file), ``SHARDS.tar`` with ``{000..003}``, ``{a,b}``, ``*`` (webdataset),
``ARCHIVE.zip`` with ``ARCHIVE_map.txt`` beside it or ``ARCHIVE.zip:MAP.txt``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from dense.data.datasets.sources import check_present, unknown_place
from dense.data.datasets.video_instances import datasets_root
from dense.data.formats.picture_sets import PictureSet, read_coco_pictures, read_named_pictures, read_picture_folder
from dense.data.formats.picture_shards import read_picture_shards
from dense.data.formats.picture_zip import read_picture_zip

__all__ = ["UnlabelledSource", "resolve_unlabelled", "unlabelled_names"]

_FORMS = "FOLDER, IMAGES.json:FOLDER, SHARDS_{000..003}.tar or ARCHIVE.zip:MAP.txt"


@dataclass(frozen=True)
class UnlabelledSource:
    """Where pictures without labels lie.

    Attributes:
        name: registered, or the text that ``resolve_unlabelled`` was given.
        reader: finds the pictures.
        places: its arguments.
        present: what must exist.
        category_names: none.
    """

    name: str
    reader: Callable[..., PictureSet]
    places: tuple[Path | str, ...]
    present: tuple[Path, ...] = ()
    category_names: ClassVar[tuple[str, ...]] = ()

    def read(self) -> PictureSet:
        """Find the pictures; none is opened. Raises: DataError if something is missing or there is no picture."""
        for path in self.present:
            check_present(self.name, path, path.exists())
        return self.reader(*self.places)


def _folder(name: str, folder: Path) -> UnlabelledSource:
    return UnlabelledSource(name, read_picture_folder, (folder,), (folder,))


def _zip(name: str, archive: Path, listing: Path) -> UnlabelledSource:
    return UnlabelledSource(name, read_picture_zip, (archive, listing), (archive, listing))


def _sources() -> dict[str, UnlabelledSource]:
    root = datasets_root()
    sources = [
        _folder("coco_2017_unlabeled", root / "coco/unlabeled2017"),
        _folder("world_images_unlabelled", root / "world_images/images/train"),
        _folder("world_videos_unlabelled", root / "world/train/JPEGImages"),
    ]
    for split in ("train", "val"):
        sources.append(_folder(f"coco_2017_{split}_unlabelled", root / f"coco/{split}2017"))
        folder = root / "imagenet" / split
        packed = folder.with_suffix(".zip").is_file() and not folder.is_dir()
        name, listing = f"imagenet_{split}", folder.with_name(f"{split}_map.txt")
        sources.append(_zip(name, folder.with_suffix(".zip"), listing) if packed else _folder(name, folder))
    for year in ("2007", "2012"):
        for split in ("train", "val", "trainval"):
            base = root / f"VOC{year}"
            listing, images = base / f"ImageSets/Main/{split}.txt", base / "JPEGImages"
            name = f"voc_{year}_{split}_unlabelled"
            sources.append(UnlabelledSource(name, read_named_pictures, (listing, images, ".jpg"), (listing, images)))
    return {source.name: source for source in sources}


def unlabelled_names() -> tuple[str, ...]:
    """All registered names, sorted."""
    return tuple(sorted(_sources()))


def resolve_unlabelled(name: str) -> UnlabelledSource:
    """Find pictures by registered name, or by place in one of the forms above; no picture is read.

    Raises: ConfigError for a name that is neither, suggesting the nearest one; DataError for a path that does not exist.
    """
    sources = _sources()
    if name in sources:
        return sources[name]
    first, _, second = name.partition(":")
    place, suffix = Path(first).expanduser(), Path(first).suffix.lower()
    if Path(name).expanduser().is_dir():
        return _folder(name, Path(name).expanduser())
    if name.lower().endswith(".tar"):
        return UnlabelledSource(name, read_picture_shards, (name,))
    if suffix == ".json" and second:
        folder = Path(second).expanduser()
        return UnlabelledSource(name, read_coco_pictures, (place, folder), (place, folder))
    if suffix == ".zip":
        listing = Path(second).expanduser() if second else place.with_name(f"{place.stem}_map.txt")
        return _zip(name, place, listing)
    raise unknown_place(name, sources, _FORMS)
