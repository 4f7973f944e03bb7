"""VSPW: semantic segmentation of videos, from folders: a list of videos per split, pictures and label maps per video.

A mask's value v means category v - 1; 0, 254 and 255 mean unlabelled. On disk::

    {train,val,test}.txt    data/<video>/origin/<frame>.jpg    data/<video>/mask/<frame>.png
    categories.json         optional: list of {id, name, isthing}, ids from 0 (the procedural world writes it)
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dense.data.formats.category_table import Category, CategoryTable, read_categories
from dense.data.formats.faults import RAISE_FIRST, Faults
from dense.data.formats.name_lists import read_names
from dense.data.formats.png_ids import read_label_map
from dense.data.formats.semantic_maps import check_labels
from dense.errors import DataError
from dense.io import read_json
from dense.video.pictures import PICTURE_SUFFIXES, natural_key

__all__ = [
    "IGNORE_LABEL",
    "NUM_CATEGORIES",
    "SemanticFrame",
    "SemanticVideo",
    "SemanticVideoDataset",
    "mask_labels",
    "read_vspw",
]

IGNORE_LABEL = 255
"""Label of unlabelled pixels, as ``mask_labels`` returns it."""

NUM_CATEGORIES = 124
"""Of the published data set; ids 0 to 123."""

_UNLABELLED = (0, 254, 255)  # mask values


@dataclass(frozen=True)
class SemanticFrame:
    """One frame: name without suffix, picture, label map (``None`` for videos without annotations)."""

    name: str
    image_path: Path
    label_path: Path | None


@dataclass(frozen=True)
class SemanticVideo:
    """One video: its name and its frames in natural order of their names."""

    id: str
    frames: tuple[SemanticFrame, ...]

    @property
    def length(self) -> int:
        """Number of frames T."""
        return len(self.frames)


@dataclass(frozen=True)
class SemanticVideoDataset(CategoryTable):
    """The videos of a split.

    Attributes:
        path: the list of videos.
        videos: in the list's order.
        categories: sorted by id, ids from 0.
        has_annotations: False if no video has a folder of masks.
    """

    path: str
    videos: tuple[SemanticVideo, ...]
    categories: tuple[Category, ...]
    has_annotations: bool

    def frame_path(self, video: SemanticVideo, frame: int) -> Path:
        """Where the picture of a frame (index from 0) lies."""
        return video.frames[frame].image_path

    def labels(self, frame: SemanticFrame, size: tuple[int, int] | None = None) -> NDArray[np.int32]:
        """``(H, W)`` category ids (0 to K-1) of a frame, ``IGNORE_LABEL`` where nothing is labelled.

        Args:
            frame: of one of ``videos``.
            size: expected (height, width) in pixels.

        Raises: DataError naming the file if it is missing, broken, of another size, or has a value that is no category.
        """
        if frame.label_path is None:
            raise DataError(f"{frame.image_path}: has no label map; {self.path} is a split without annotations.")
        labels = mask_labels(read_label_map(frame.label_path, size))
        check_labels(labels, len(self.categories), IGNORE_LABEL, f"{frame.label_path} (mask value - 1)")
        return labels


def mask_labels(values: NDArray[np.integer]) -> NDArray[np.int32]:
    """Category ids from the values of a mask, any shape: v becomes v - 1; 0, 254 and 255 become ``IGNORE_LABEL``."""
    return np.where(np.isin(values, _UNLABELLED), IGNORE_LABEL, values.astype(np.int32) - 1).astype(np.int32)


def read_vspw(
    root: str | os.PathLike[str],
    split: str = "train",
    categories: Sequence[Category] | None = None,
    *,
    check_files: bool = False,
    faults: Faults = RAISE_FIRST,
) -> SemanticVideoDataset:
    """Find the videos of a split, their pictures and label maps.

    Args:
        root: folder with ``data`` and the lists of videos.
        split: name of the list without ``.txt``.
        categories: with ids 0 to K-1; default: ``categories.json`` of ``root``, else ``NUM_CATEGORIES`` without names.
        check_files: also read every label map.
        faults: what to do with a fault (default: raise the first).

    Raises: DataError naming the list, the video, or the picture or label map that lacks its other half.
    """
    folder = Path(root)
    listed = folder / f"{split}.txt"
    videos = [_video(folder / "data" / name, name, faults) for name in read_names(listed, faults)]
    dataset = SemanticVideoDataset(
        path=str(listed),
        videos=tuple(video for video in videos if video is not None),
        categories=_categories(folder, categories, faults),
        has_annotations=any(frame.label_path is not None for video in videos if video for frame in video.frames),
    )
    for video in dataset.videos if check_files and dataset.has_annotations else ():
        for frame in video.frames:
            dataset.labels(frame)
    return dataset


def _video(folder: Path, name: str, faults: Faults) -> SemanticVideo | None:
    """One video; pictures and masks are paired by name."""
    pictures = _files(folder / "origin", PICTURE_SUFFIXES)
    masks = _files(folder / "mask", (".png",))
    if not pictures:
        faults.error(
            "missing picture", f"{folder / 'origin'}: holds no picture, expected the frames of video {name}.", name, name
        )
        return None
    for stem in sorted(masks.keys() - pictures.keys()):
        expected = folder / "origin" / f"{stem}.jpg"
        faults.error("missing picture", f"{masks[stem]}: has no picture, expected {expected}.", f"{name}/{stem}", name)
    for stem in sorted(pictures.keys() - masks.keys()) if masks else ():
        expected = folder / "mask" / f"{stem}.png"
        faults.error("missing label map", f"{pictures[stem]}: has no label map, expected {expected}.", f"{name}/{stem}", name)
    return SemanticVideo(name, tuple(SemanticFrame(stem, path, masks.get(stem)) for stem, path in pictures.items()))


def _files(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Files of a folder by stem, in natural order; hidden ones and other types are passed over."""
    if not folder.is_dir():
        return {}
    kept = [p for p in folder.iterdir() if p.suffix.lower() in suffixes and not p.name.startswith(".") and p.is_file()]
    return {path.stem: path for path in sorted(kept, key=natural_key)}


def _categories(folder: Path, given: Sequence[Category] | None, faults: Faults) -> tuple[Category, ...]:
    if given is None and not (folder / "categories.json").is_file():
        return tuple(Category(k, f"category {k}") for k in range(NUM_CATEGORIES))
    source = str(folder / "categories.json")
    table = tuple(given) if given is not None else read_categories({"categories": read_json(source)}, source, faults)
    if [category.id for category in table] != list(range(len(table))):
        found = [category.id for category in table][:8]
        raise DataError(f"{source if given is None else 'categories'}: ids are {found}, expected 0, 1, 2, … (mask value - 1).")
    return table
