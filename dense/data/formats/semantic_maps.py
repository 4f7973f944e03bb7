"""Semantic segmentation as folders: pictures, and beside them one PNG of class labels per picture.

A label is a contiguous class index from 0; ``ignore_label`` (usually 255) means unlabelled.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dense.data.formats.faults import RAISE_FIRST, Faults
from dense.data.formats.png_ids import read_label_map
from dense.errors import DataError
from dense.video.pictures import PICTURE_SUFFIXES, natural_key

__all__ = ["SemanticDataset", "SemanticRecord", "check_labels", "label_files", "read_semantic_folders"]


@dataclass(frozen=True)
class SemanticRecord:
    """One picture with its label map; ``name`` is what both have in common, relative to their folders."""

    name: str
    image_path: Path
    label_path: Path


@dataclass(frozen=True)
class SemanticDataset:
    """Pictures with label maps.

    Attributes:
        path: folder of the label maps.
        images: in natural order of their names.
        category_names: name of each class index, in order.
        ignore_label: value of unlabelled pixels.
    """

    path: str
    images: tuple[SemanticRecord, ...]
    category_names: tuple[str, ...]
    ignore_label: int = 255

    def labels(self, record: SemanticRecord, size: tuple[int, int] | None = None) -> NDArray[np.int32]:
        """``(H, W)`` class indices of a picture, or ``ignore_label``.

        Args:
            record: one of ``images``.
            size: expected (height, width) in pixels.

        Raises: DataError naming the file if it is broken, of another size, or has a value that is no class.
        """
        labels = read_label_map(record.label_path, size)
        check_labels(labels, len(self.category_names), self.ignore_label, str(record.label_path))
        return labels


def read_semantic_folders(
    image_root: str | os.PathLike[str],
    label_root: str | os.PathLike[str],
    category_names: Sequence[str],
    *,
    image_suffix: str = "",
    label_suffix: str = ".png",
    ignore_label: int = 255,
    faults: Faults = RAISE_FIRST,
) -> SemanticDataset:
    """Find pictures and their label maps, in sub-folders too.

    Args:
        image_root: folder of pictures.
        label_root: folder of label maps with the same names, except for the suffixes.
        category_names: name of each class index.
        image_suffix: end of the pictures' names, for instance ``"_leftImg8bit.png"``; empty = any picture extension.
        label_suffix: end of the label maps' names.
        ignore_label: value of unlabelled pixels.
        faults: what to do with a label map without picture (default: raise).

    Raises: DataError naming the folder that is missing or holds no label map, or a label map without picture.
    """
    labels = label_files(label_root, label_suffix)
    pictures = {name: path for path, name in _pictures(Path(image_root), image_suffix)}
    for name, path in labels.items():
        if name not in pictures:
            expected = f"{Path(image_root) / name}{image_suffix or ' with a picture suffix'}"
            faults.error("missing picture", f"{path}: has no picture, expected {expected}.", name, name)
    for name in sorted(pictures.keys() - labels.keys()) if faults.collecting else ():
        faults.warn("picture without label map", f"{pictures[name]}: has no label map {name}{label_suffix}.", name, name)
    records = [SemanticRecord(name, pictures[name], path) for name, path in labels.items() if name in pictures]
    return SemanticDataset(str(label_root), tuple(records), tuple(category_names), ignore_label)


def label_files(label_root: str | os.PathLike[str], label_suffix: str = ".png") -> dict[str, Path]:
    """Label maps of a folder and its sub-folders by name (relative, without the suffix), in natural order.

    Raises: DataError if the folder is missing or holds none.
    """
    root = Path(label_root)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder, expected label maps (*{label_suffix}).")
    found = sorted((p for p in root.rglob(f"*{label_suffix}") if _visible(p, root)), key=natural_key)
    if not found:
        raise DataError(f"{root}: holds no label map, looked for *{label_suffix} there and in its sub-folders.")
    return {path.relative_to(root).as_posix().removesuffix(label_suffix): path for path in found}


def check_labels(labels: NDArray[np.int32], num_classes: int, ignore_label: int, where: str) -> None:
    """Raise DataError naming ``where`` and the value if a label is neither a class (0 to K-1) nor ``ignore_label``."""
    wrong = (labels < 0) | (labels >= num_classes)
    wrong &= labels != ignore_label
    if wrong.any():
        values = ", ".join(str(value) for value in np.unique(labels[wrong])[:8])
        raise DataError(
            f"{where}: has label {values}, expected 0 to {num_classes - 1}, or {ignore_label} for unlabelled pixels."
        )


def _pictures(root: Path, suffix: str) -> Iterator[tuple[Path, str]]:
    """Pictures below ``root`` with the name that their label map shares."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder, expected pictures.")
    for path in root.rglob(f"*{suffix}"):
        if _visible(path, root) and (suffix or path.suffix.lower() in PICTURE_SUFFIXES):
            name = path.relative_to(root).as_posix()
            yield path, name.removesuffix(suffix or path.suffix)


def _visible(path: Path, root: Path) -> bool:
    return path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts)
