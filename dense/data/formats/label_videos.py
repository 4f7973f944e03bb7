"""Video semantic segmentation in VSPW's form: a folder per video, in it one PNG of class labels per frame.

Ground truth ``<video>/mask/*.png`` (or ``<video>/*.png``): class k has the value k + 1; 0, 254 and 255 are unlabelled.
Results ``<video>/<frame>.png``: class indices from 0, 255 = no class.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dense.data.formats.name_lists import read_names
from dense.data.formats.png_ids import write_label_map
from dense.data.formats.semantic_maps import check_labels
from dense.errors import DataError
from dense.video.pictures import natural_key

__all__ = ["NO_CLASS", "UNLABELLED", "LabelVideo", "class_labels", "label_videos", "write_label_frame"]

UNLABELLED = (0, 254, 255)
"""Values of VSPW's masks that are no class."""
NO_CLASS = 255
"""Value of a predicted pixel without class."""


@dataclass(frozen=True)
class LabelVideo:
    """The label maps of one video, in natural order of their names."""

    name: str
    frames: tuple[Path, ...]


def label_videos(root: str | os.PathLike[str], split_file: str | os.PathLike[str] | None = None) -> list[LabelVideo]:
    """Find the label maps of each video.

    Args:
        root: folder with one folder per video.
        split_file: text file with the name of one video per line; default: all folders, in natural order.

    Raises: DataError naming the folder or the line if a video is missing, listed twice, or has no label map.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder, expected one folder of label maps per video.")
    if split_file is None:
        names = [p.name for p in sorted(folder.iterdir(), key=natural_key) if p.is_dir() and not p.name.startswith(".")]
    else:
        names = read_names(split_file)
    if not names:
        raise DataError(f"{split_file or folder}: has no video, expected {folder}/<video>/mask/*.png.")
    return [_video(folder, name, f" listed in {split_file}" if split_file else "") for name in names]


def _video(root: Path, name: str, listed: str) -> LabelVideo:
    folder = root / name
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder, expected the label maps of video {name}{listed}.")
    folder = folder / "mask" if (folder / "mask").is_dir() else folder
    frames = sorted((p for p in folder.glob("*.png") if not p.name.startswith(".")), key=natural_key)
    if not frames:
        raise DataError(f"{folder}: holds no label map, expected one PNG per frame of video {name}.")
    return LabelVideo(name, tuple(frames))


def class_labels(
    values: NDArray[np.integer],
    num_classes: int,
    where: str,
    *,
    unlabelled: Sequence[int] = UNLABELLED,
    ignore_label: int = NO_CLASS,
) -> NDArray[np.int32]:
    """Values of a mask → class indices.

    Args:
        values: ``(H, W)`` as on disk: class k has the value k + 1.
        num_classes: K.
        where: file, for the message.
        unlabelled: values that are no class; those from 1 to K are classes nevertheless, so that many classes are no problem.
        ignore_label: what unlabelled pixels get.

    Returns: ``(H, W)`` int32, 0 to K-1 or ``ignore_label``.
    Raises: DataError naming the file and the value if it is neither.
    """
    labels = values.astype(np.int32) - 1
    is_class = (labels >= 0) & (labels < num_classes)
    wrong = ~is_class
    for value in unlabelled:
        wrong &= values != value
    if wrong.any():
        raise DataError(
            f"{where}: has value {int(values[wrong][0])}, expected 1 to {num_classes} for the classes,"
            f" or {', '.join(map(str, unlabelled))} for unlabelled pixels."
        )
    return np.where(is_class, labels, np.int32(ignore_label))


def write_label_frame(
    root: str | os.PathLike[str], video: str, frame: str, labels: NDArray[np.integer], num_classes: int
) -> Path:
    """Write one frame of a submission atomically as ``<root>/<video>/<frame>.png``.

    Args:
        root: folder of the submission.
        video: name of the video.
        frame: file name of the frame; its suffix does not count.
        labels: ``(H, W)`` class indices 0 to K-1, or 255.
        num_classes: K.

    Returns: the path of the PNG.
    Raises: DataError naming the file if a label is neither.
    """
    path = Path(root) / video / f"{Path(frame).stem}.png"
    check_labels(labels.astype(np.int32), num_classes, NO_CLASS, str(path))
    write_label_map(path, labels)
    return path
