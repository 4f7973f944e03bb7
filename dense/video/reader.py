"""``open_frames``: one call for video files, folders, patterns, cameras and arrays in memory."""

import glob
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sized
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from dense.errors import DataError, VideoError
from dense.video.frames import DamagedVideoError, Frame, FrameSource, check_image, describe, to_rate
from dense.video.pictures import PICTURE_SUFFIXES, list_pictures, natural_key, read_picture

__all__ = ["FolderSource", "MemorySource", "open_frames"]

Source = str | os.PathLike[str] | int | Iterable[Any]


def open_frames(source: Source, *, rate: Fraction | float | str = 10, stream: int | None = None) -> FrameSource:
    """Open anything that holds frames; nothing is decoded yet, but what cannot be opened is refused here.

    Args:
        source: one of
            a video file;
            a picture file (one frame);
            a folder of pictures, read in natural order, other files passed over;
            a pattern such as ``"frames/*.jpg"``;
            a camera, ``0`` or ``"webcam:0"``;
            an iterable of ``(H, W, 3)`` uint8 RGB or ``(H, W)`` gray arrays, or of Frame objects, which keep time and name;
            a FrameSource, returned as it is.
        rate: frames per second of pictures and arrays; videos and cameras have their own.
        stream: number of the video stream in a file with several; None takes the best.

    Returns: a FrameSource; use it in ``with`` and iterate once.
    Raises: VideoError in one line that names the source.
    """
    if isinstance(source, FrameSource):
        return source
    if isinstance(source, int) and not isinstance(source, bool):
        return _open_camera(source)
    if isinstance(source, str | os.PathLike):
        return _open_path(os.fspath(source), to_rate(rate), stream)
    if isinstance(source, np.ndarray) and source.ndim != 4:
        raise VideoError(
            f"frames in memory: one array of shape {source.shape}. Expected (T, H, W, 3), or a list of (H, W, 3) pictures."
        )
    if isinstance(source, Iterable) and not isinstance(source, bytes | bytearray | dict):
        return MemorySource(source, to_rate(rate))
    raise VideoError(f"source: is a {type(source).__name__}. Expected a path, a pattern, a camera number or arrays.")


def _open_path(text: str, rate: Fraction, stream: int | None) -> FrameSource:
    camera = re.fullmatch(r"(?:webcam|camera):(\d+)", text)
    if camera:
        return _open_camera(int(camera[1]))
    path = Path(text)
    if "://" in text and not path.exists():
        raise VideoError(f"{text}: is an address. Only files of this machine are read: download the video first.")
    if path.is_dir():
        return FolderSource(text, list_pictures(path), rate)
    if glob.has_magic(text) and not path.exists():
        return FolderSource(text, _matching_pictures(text), rate)
    if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file():
        return FolderSource(text, [path], rate)
    from dense.video.video_file import open_video_file

    return open_video_file(path, stream)


def _matching_pictures(pattern: str) -> list[Path]:
    matches = (Path(name) for name in glob.glob(pattern, recursive=True))  # noqa: PTH207  Path.glob refuses absolute patterns
    found = sorted((path for path in matches if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file()), key=natural_key)
    if not found:
        looked_for = ", ".join(PICTURE_SUFFIXES)
        raise VideoError(f"{pattern}: matches no picture ({looked_for}). Expected a pattern such as frames/*.jpg.")
    return found


def _open_camera(number: int) -> FrameSource:
    """A camera through FFmpeg's device input: Video4Linux or AVFoundation.

    Raises: VideoError if there is no such camera, it is busy, or the system is neither Linux nor macOS.
    """
    import av

    from dense.video.video_file import ContainerSource

    label = f"webcam {number}"
    if sys.platform.startswith("linux"):
        name, kind = f"/dev/video{number}", "v4l2"
        if number < 0 or not Path(name).exists():
            raise VideoError(f"{label}: there is no {name}. Connect a camera, or give a video file or a folder of frames.")
    elif sys.platform == "darwin":
        name, kind = str(number), "avfoundation"
    else:
        raise VideoError(f"{label}: cameras are read on Linux and macOS only. Give a video file or a folder of frames.")
    try:
        container = av.open(name, format=kind, mode="r")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise VideoError(f"{label}: cannot be opened ({describe(error)}). Is it in use, or are you not allowed to?") from error
    return ContainerSource(container, label, is_live=True)


class FolderSource(FrameSource):
    """Picture files as frames ``1 / rate`` seconds apart; names are the file names."""

    def __init__(self, label: str, paths: list[Path], rate: Fraction) -> None:
        super().__init__(label, rate, len(paths), True)
        self._paths = paths

    def _pictures(self) -> Iterator[tuple[float, np.ndarray, str | None]]:
        for index, path in enumerate(self._paths):
            try:
                image = read_picture(path)
            except DataError as error:
                if not index:
                    raise VideoError(str(error)) from error
                raise DamagedVideoError(f"{self.label}: damaged after frame {index - 1}; {error}", index) from error
            yield float(index / self.rate) if self.rate else 0.0, image, path.name


class MemorySource(FrameSource):
    """Arrays, or Frame objects, from any iterable; they are taken one at a time."""

    def __init__(self, frames: Iterable[Any], rate: Fraction) -> None:
        count = len(frames) if isinstance(frames, Sized) else None
        super().__init__("frames in memory", rate, count, True)
        self._frames = frames

    def _pictures(self) -> Iterator[tuple[float, np.ndarray, str | None]]:
        step = 1 / self.rate if self.rate else Fraction(0)
        last = -1.0
        for index, item in enumerate(self._frames):
            where = f"frames in memory: frame {index}"
            if not isinstance(item, Frame):
                yield float(index * step), check_image(item, where), None
                continue
            if not last < item.time_s < float("inf"):
                raise VideoError(f"{where}: its time {item.time_s} s is not after {last} s. Expected times that increase.")
            self.is_constant_rate = None
            last = item.time_s
            yield item.time_s, check_image(item.image, where), item.name
