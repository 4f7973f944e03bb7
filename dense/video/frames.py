"""What every source of frames shares: the frame, its checks, the single pass, the errors."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType
from typing import TypeVar

import numpy as np

from dense.errors import VideoError
from dense.limits import DEFAULT_PIXELS, max_pixels

__all__ = ["MAX_FRAME_PIXELS", "DamagedVideoError", "Frame", "FrameSource", "check_image", "to_rate"]

Self = TypeVar("Self", bound="FrameSource")  # typing.Self needs Python 3.11

MAX_FRAME_PIXELS = DEFAULT_PIXELS
"""Larger pictures are refused before they are decoded: a few kilobytes can declare gigabytes (decompression bombs).

DENSE_MAX_MEGAPIXELS raises it: see ``dense.limits.max_pixels``."""


class DamagedVideoError(VideoError):
    """Frames came, then the source turned out to be damaged; ``frames_read`` says how many are good and were delivered."""

    def __init__(self, message: str, frames_read: int) -> None:
        super().__init__(message)
        self.frames_read = frames_read


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of a video.

    Attributes:
        index: 0, 1, 2, … in display order.
        time_s: seconds since the first frame, strictly increasing.
        image: ``(H, W, 3)`` uint8 RGB, contiguous, upright.
        name: file name of a frame that came from a folder, else the index with six digits.
    """

    index: int
    time_s: float
    image: np.ndarray
    name: str


class FrameSource(ABC):
    """An iterable context manager of frames: one pass, constant memory, all frames of one size.

    Attributes:
        label: what messages call the source (file, folder, ``webcam 0``, ``frames in memory``).
        size: ``(height, width)`` in pixels, upright; None before the first frame.
        num_frames: how many frames the header or the folder promises; None when unknown or known to be wrong.
        rate: nominal frames per second (header, or the ``rate`` argument); None when unknown.
        is_constant_rate: whether all steps so far are ``1 / rate``; None until two frames have been read.
        frames_read: frames delivered so far.
        notes: sentences worth telling the user (stream chosen, frames concealed, …); grows while reading.

    Raises: while iterating, VideoError if there is no frame or a frame cannot be used, DamagedVideoError after the last
        good frame if the source is damaged behind it.
    """

    def __init__(self, label: str, rate: Fraction | None, num_frames: int | None, is_constant_rate: bool | None) -> None:
        self.label = label
        self.rate = rate
        self.num_frames = num_frames
        self.is_constant_rate = is_constant_rate
        self.size: tuple[int, int] | None = None
        self.frames_read = 0
        self.notes: list[str] = []
        self._started = False

    @abstractmethod
    def _pictures(self) -> Iterator[tuple[float, np.ndarray, str | None]]:
        """Yield time in seconds, ``(H, W, 3)`` uint8 RGB and a name (None: take the index) of each frame."""

    def close(self) -> None:  # noqa: B027  folders and memory have nothing to release
        """Release the file or the camera; may be called twice."""

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        if self._started:
            raise VideoError(f"{self.label}: its frames were already read once. Call open_frames again for a second pass.")
        self._started = True
        return self._deliver()

    def _deliver(self) -> Iterator[Frame]:
        try:
            for time_s, image, name in self._pictures():
                index = self.frames_read
                self._check_size(index, image, name)
                self.frames_read += 1
                yield Frame(index, time_s, image, name if name is not None else f"{index:06d}")
        finally:
            self.close()
        if not self.frames_read:
            raise VideoError(f"{self.label}: holds no frame; no picture could be decoded. Expected at least one video frame.")

    def _check_size(self, index: int, image: np.ndarray, name: str | None) -> None:
        height, width = image.shape[:2]
        if self.size is None:
            self.size = (height, width)
        elif self.size != (height, width):
            where = f"frame {index}" + (f" ({name})" if name is not None else "")
            raise DamagedVideoError(
                f"{self.label}: {where} is {width}x{height} (width x height) but the frames before it are "
                f"{self.size[1]}x{self.size[0]}. All frames must have one size: scale them first.",
                self.frames_read,
            )


def check_image(image: object, where: str) -> np.ndarray:
    """Validate one picture from memory: ``(H, W, 3)`` uint8 RGB as it is, ``(H, W)`` uint8 gray repeated three times.

    Args:
        image: array or anything NumPy turns into one without guessing (a CPU tensor, say).
        where: begins the message (``"frame 3"``).

    Returns: contiguous ``(H, W, 3)`` uint8.
    Raises: VideoError for another type or shape, no pixels, or more than ``max_pixels``.
    """
    if not isinstance(image, np.ndarray) and not hasattr(image, "__array__"):
        raise VideoError(f"{where}: is a {type(image).__name__}. Expected an array (H, W, 3) of uint8, RGB.")
    try:
        array = np.asarray(image)
    except (TypeError, ValueError, RuntimeError) as error:
        raise VideoError(f"{where}: cannot be read as an array ({error}). Expected (H, W, 3) uint8, RGB.") from error
    if array.dtype != np.uint8:
        raise VideoError(f"{where}: is of type {array.dtype}. Expected uint8 from 0 to 255; scale and round floats first.")
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)  # (H, W, 3)
    if array.ndim != 3 or array.shape[2] != 3:
        hint = " Move the channels to the end." if array.ndim == 3 and array.shape[0] == 3 else ""
        raise VideoError(f"{where}: has shape {array.shape}. Expected (H, W, 3), RGB, or (H, W), gray.{hint}")
    check_pixels(array.shape[0], array.shape[1], where)
    return np.ascontiguousarray(array)


def check_pixels(height: int, width: int, where: str, limit: int | None = None) -> None:
    """Refuse empty and enormous pictures.

    Raises: VideoError if there are no pixels or more than ``limit`` (default: ``max_pixels``).
    """
    limit = max_pixels() if limit is None else limit
    if height < 1 or width < 1:
        raise VideoError(f"{where}: has no pixels ({width}x{height}).")
    if height * width > limit:
        raise VideoError(
            f"{where}: is {width}x{height} = {height * width / 1e6:.0f} megapixels; the limit is {limit / 1e6:.0f}. "
            "Scale the picture down first, or raise DENSE_MAX_MEGAPIXELS."
        )


def to_rate(rate: Fraction | float | str) -> Fraction:
    """Frames per second as an exact fraction; 29.97003 becomes 30000/1001, ``"30000/1001"`` is accepted.

    Raises: VideoError unless it is a number above 0 and at most 1000.
    """
    try:
        if isinstance(rate, float) and not math.isfinite(rate):
            raise ValueError(rate)
        value = Fraction(rate)
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise VideoError(f"rate: {rate!r} is no frame rate. Expected frames per second, such as 25 or 30000/1001.") from error
    if not 0 < value <= 1000:
        raise VideoError(f"rate: {rate} frames per second. Expected more than 0 and at most 1000.")
    return value.limit_denominator(1001) or Fraction(1, 1001)


def describe(error: BaseException) -> str:
    """The reason of a foreign error in a few words, on one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())
