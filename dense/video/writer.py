"""``VideoWriter``: annotated frames into a video file that survives exceptions, kills and full disks."""

import contextlib
import math
import os
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np

from dense.errors import VideoError
from dense.video.containers import OUTPUT_KINDS, check_output_path
from dense.video.encoding import add_video_stream, finish_mp4, to_video_frame
from dense.video.frames import check_image, describe, to_rate

__all__ = ["VideoWriter"]

_FOREIGN = (av.error.FFmpegError, OSError, ValueError)


class VideoWriter:
    """A context manager that encodes RGB frames one by one.

    While it runs, frames go to ``<stem>.partial<ext>`` beside the target; the target appears, whole, when the ``with`` block
    ends, and an older file of that name stays until then. After an exception inside the block the partial file is closed
    properly and kept, the target is not touched. After a kill the partial file still plays up to about ten frames
    before the end (MP4 and MOV are written in fragments and only made into an ordinary file at the end, without
    encoding again). A block that wrote no frame leaves no file.

    By extension: ``.mp4 .m4v .mov .mkv`` H.264 (4:2:0, constant quality), ``.webm`` VP9, ``.avi`` MPEG-4 part 2. Colours
    are BT.709 limited range and flagged so (BT.601 in AVI, which cannot flag it). AVI knows no frame times: they are
    rounded to multiples of ``1 / rate``.

    Attributes:
        path: the target.
        partial_path: where the frames are until the end, and stay after an exception.
        padded: rows added below and columns added at the right, 0 or 1 each, by repeating the edge: H.264 needs even sizes.
        frames_written: frames taken so far.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        size: tuple[int, int] | None = None,
        rate: Fraction | float | str | None = None,
        *,
        quality: int = 20,
    ) -> None:
        """Check the target; the file is opened with the first frame.

        Args:
            path: target; the extension chooses the container.
            size: ``(height, width)`` in pixels; None takes the first frame's.
            rate: nominal frames per second; None means 10. Frames written without a time are ``1 / rate`` apart.
            quality: x264's constant rate factor, 0 (lossless) to 51 (worst); other encoders get the nearest they know.

        Raises: VideoError for a target that cannot be written, a size, rate or quality out of range.
        """
        self.path = check_output_path(path)
        self.partial_path = self.path.with_name(f"{self.path.stem}.partial{self.path.suffix}")
        self.rate = to_rate(rate if rate is not None else 10)
        if not 0 <= quality <= 51:
            raise VideoError(f"quality: {quality}. Expected 0 (lossless) to 51 (worst).")
        self.frames_written = 0
        self.padded = (0, 0)
        self._quality = quality
        self._kind = OUTPUT_KINDS[self.path.suffix.lower()]
        self._size = size
        self._container: Any = None
        self._stream: Any = None
        self._tick = 1 / self.rate
        self._first_time: float | None = None
        self._last_time = -math.inf
        self._last_pts = -1
        self._closed = False

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def write(self, image: np.ndarray, time_s: float | None = None, name: str | None = None) -> None:
        """Encode one frame.

        Args:
            image: ``(H, W, 3)`` uint8 RGB or ``(H, W)`` uint8 gray, all of one size.
            time_s: seconds; must increase. Times are kept relative to the first frame's. None: one step after the frame before.
            name: taken for the sake of FrameFolderWriter, not kept.

        Raises: VideoError for a wrong picture, a time that does not increase, or a disk that cannot take it.
        """
        where = f"{self.path}: frame {self.frames_written}"
        if self._closed:
            raise VideoError(f"{where}: the writer is closed already. Write inside the with block.")
        picture = check_image(image, where)
        if self._size is not None and tuple(self._size) != picture.shape[:2]:
            height, width = self._size
            raise VideoError(f"{where}: is {picture.shape[1]}x{picture.shape[0]}. Expected {width}x{height} as the file.")
        pts = self._next_pts(time_s, where)
        try:
            if self._container is None:
                self._open(picture.shape[0], picture.shape[1])
            self._container.mux(self._stream.encode(to_video_frame(picture, self.padded, pts, self._tick, self._stream)))
        except _FOREIGN as error:
            raise VideoError(f"{where}: cannot be written to {self.partial_path.name} ({describe(error)}).") from error
        self._last_pts = pts
        self.frames_written += 1

    def close(self) -> Path:
        """Finish the file and give it its name; a second call does nothing.

        Returns: the target.
        Raises: VideoError if no frame was written (nothing is left), or the disk cannot take the file (the partial is kept).
        """
        if self._closed:
            return self.path
        self._closed = True
        if not self.frames_written:
            self._discard()
            raise VideoError(f"{self.path}: no frame was written, so no file is made. Expected at least one frame.")
        try:
            self._finish_partial()
            self.partial_path.replace(self.path)
        except _FOREIGN as error:
            raise VideoError(
                f"{self.path}: cannot be finished ({describe(error)}). The frames so far are in {self.partial_path.name}."
            ) from error
        return self.path

    def abandon(self) -> None:
        """Close after a failure: what was written stays readable as ``partial_path``, the target is not touched."""
        if self._closed:
            return
        self._closed = True
        if not self.frames_written:
            self._discard()
            return
        try:
            self._finish_partial()
        except _FOREIGN:
            return  # the fragments on disk still play, and the error that led here matters more

    def _open(self, height: int, width: int) -> None:
        self._size = (height, width)
        self.padded = (height % 2, width % 2)
        options = {"flush_packets": "1", **self._kind.options}
        self._container = av.open(str(self.partial_path.absolute()), "w", format=self._kind.container, options=options)
        size = (height + self.padded[0], width + self.padded[1])
        self._stream, self._tick = add_video_stream(self._container, self._kind, size, self.rate, self._quality)

    def _next_pts(self, time_s: float | None, where: str) -> int:
        """Presentation time in ticks of the stream's clock, strictly increasing."""
        if time_s is None and self._first_time is not None:
            self._last_time += float(1 / self.rate)
            return self._last_pts + round(1 / self.rate / self._tick)  # whole ticks, so that nothing drifts
        time_s = 0.0 if time_s is None else time_s
        if not math.isfinite(time_s) or time_s <= self._last_time:
            raise VideoError(f"{where}: time {time_s} s. Expected seconds that increase; the frame before: {self._last_time}.")
        self._first_time = time_s if self._first_time is None else self._first_time
        self._last_time = time_s
        exact = (time_s - self._first_time) / self._tick
        return max(round(exact), self._last_pts + 1)

    def _finish_partial(self) -> None:
        try:
            self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()
        if self._kind.is_mp4:
            finish_mp4(self.partial_path, self._kind.container)
        with self.partial_path.open("rb") as stream:
            os.fsync(stream.fileno())

    def _discard(self) -> None:
        if self._container is None:
            return
        with contextlib.suppress(*_FOREIGN):  # the file is removed anyway
            self._container.close()
        self.partial_path.unlink(missing_ok=True)
