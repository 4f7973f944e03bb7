"""Panoptic and semantic results of a stream on disk, in the forms of VIPSeg and VSPW: a PNG per frame as it comes."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from dense.data.formats.label_videos import write_label_frame
from dense.data.formats.video_panoptic import VideoPanopticWriter
from dense.errors import DataError
from dense.structures import FrameResult
from dense.video.folder_writer import FrameStems

__all__ = ["MapFiles", "PanopticFiles", "SemanticFiles", "video_name"]

PathLike = str | os.PathLike[str]


class MapFiles(Protocol):
    """Takes the results of a video frame by frame."""

    def write(self, result: FrameResult, name: str) -> None:
        """Write one frame; ``name`` is that of its picture. Raises: DataError if a file cannot be written."""
        ...

    def close(self) -> list[Path]:
        """Write what is still to write; returns the files and folders written."""
        ...


class PanopticFiles:
    """``pred.json`` and ``pan_pred/<video>/<frame>.png``; category ids are class indices from 0.

    The PNG files of an earlier run on the video are removed, and so is ``pred.json``, which comes last. Memory grows by what it
    says of each frame, about a hundred bytes per segment.

    Args:
        folder: of the results.
        video: its name.
        categories: names of the classes.
    """

    def __init__(self, folder: PathLike, video: str, categories: Sequence[str]) -> None:
        self._writer = VideoPanopticWriter(folder, range(len(categories)))
        self._video, self._stems = video, FrameStems()
        self._pngs = Path(folder) / "pan_pred" / video
        _clear([Path(folder) / "pred.json", *self._pngs.glob("*.png")])

    def write(self, result: FrameResult, name: str) -> None:
        """See ``MapFiles``."""
        if result.panoptic is None:
            raise AssertionError("the frame must come from a panoptic model")
        classes = {segment.id: segment.label for segment in result.segments}
        self._writer.add_frame(self._video, f"{self._stems.free(name, result.index)}.png", result.panoptic, classes)

    def close(self) -> list[Path]:
        """See ``MapFiles``."""
        return [self._pngs, self._writer.close()]


class SemanticFiles:
    """``semantic/<video>/<frame>.png``: class indices from 0; the PNG files of an earlier run on the video are removed.

    Args:
        folder: of the results.
        video: its name.
        categories: names of the classes.
    """

    def __init__(self, folder: PathLike, video: str, categories: Sequence[str]) -> None:
        self._root, self._video, self._classes = Path(folder) / "semantic", video, len(categories)
        self._stems = FrameStems()
        _clear(list((self._root / video).glob("*.png")))

    def write(self, result: FrameResult, name: str) -> None:
        """See ``MapFiles``."""
        if result.semantic is None:
            raise AssertionError("the frame must come from a semantic model")
        labels = result.semantic.astype(np.int32)
        write_label_frame(self._root, self._video, f"{self._stems.free(name, result.index)}.png", labels, self._classes)

    def close(self) -> list[Path]:
        """See ``MapFiles``."""
        return [self._root / self._video]


def video_name(label: str) -> str:
    """Name of a folder for the results of a source: the stem of its file or folder, odd characters replaced."""
    stem = Path(label).stem.strip(". ")
    return "".join(c if c.isalnum() or c in "-_. " else "_" for c in stem) or "video"


def _clear(paths: Sequence[Path]) -> None:
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise DataError(f"{path}: cannot be replaced ({error.strerror}). Give another place for the results.") from error
