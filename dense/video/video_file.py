"""Frames of a video file or camera through PyAV: upright, in display order, with their own times, drained to the last."""

import os
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from dense.errors import VideoError
from dense.limits import max_pixels
from dense.video.containers import choose_stream, open_container
from dense.video.frames import DamagedVideoError, FrameSource, check_pixels, describe
from dense.video.orientation import UPRIGHT, Turn, turn_from_display_matrix, turn_upright
from dense.video.pictures import over_white

__all__ = ["ContainerSource", "open_video_file"]

_MAX_READ_ERRORS = 3
_JUMP = 2  # frame steps backwards from which a time is a restarted clock, not jitter


def open_video_file(path: str | os.PathLike[str], stream: int | None = None) -> "ContainerSource":
    """Open a video file for reading.

    Args:
        path: the file.
        stream: number of the video stream in the file; None takes FFmpeg's best (normally the largest).

    Raises: VideoError if there is no such file or stream, or the file is empty, cut off before its index or no video.
    """
    return ContainerSource(open_container(path), str(path), stream)


class ContainerSource(FrameSource):
    """Frames of an open PyAV container; see FrameSource for the attributes.

    Colours follow the stream's flags (matrix, range); unflagged streams are BT.601 limited range, FFmpeg's rule; bits beyond
    eight are rounded off, transparency is laid over white. Packets that cannot be decoded are skipped up to the next
    keyframe, because what is decoded in between is smeared; the number is in ``notes``. When no keyframe follows, a
    DamagedVideoError is raised after the last frame that came before the damage.
    """

    def __init__(self, container: Any, label: str, stream: int | None = None, is_live: bool = False) -> None:  # noqa: ANN401  PyAV has no public base type
        self.container = container
        super().__init__(label, None, None, None)
        try:
            self.stream = choose_stream(container, label, stream, self.notes)
            context = self.stream.codec_context
            check_pixels(context.height or 1, context.width or 1, label)
        except BaseException:
            container.close()
            raise
        context.options = {"max_pixels": str(max_pixels())}
        self._is_cut = not is_live and _ends_before_its_index_says(self.stream, label)
        self._header_frames = 0 if is_live else self.stream.frames
        self.num_frames = None if self._is_cut else self._header_frames or None
        self.rate = _nominal_rate(self.stream)
        self._reformatter = VideoReformatter()
        self._start: Fraction | None = None
        self._last: Fraction | None = None
        self._lost: str | None = None  # reason of the damage, while no keyframe has come since
        self._skipped = self._concealed = self._restarts = 0
        self.rotation = 0
        self._angle: int | None = None
        self._turn = UPRIGHT
        ratio = self.stream.sample_aspect_ratio
        if ratio and ratio != 1:
            self.notes.append(f"Pixels are {ratio} (width/height), not square; frames keep the stored pixels.")

    def close(self) -> None:
        """Close the file or camera; may be called twice."""
        self.container.close()

    def _pictures(self) -> Iterator[tuple[float, np.ndarray, str | None]]:
        for frame in self._decoded():
            check_pixels(frame.height, frame.width, f"{self.label}: frame {self.frames_read}")
            self._concealed += frame.is_corrupt
            time_s = float(self._time(frame))
            yield time_s, self._to_rgb(frame), None
        self._tell_differences()

    def _decoded(self) -> Iterator[Any]:
        """Decoded frames in display order, the reordered ones at the end included."""
        for packet in self._packets():
            if self._lost is not None and not packet.is_keyframe:
                self._skipped += packet.size > 0
                continue
            try:
                frames = packet.decode()  # the last packet is empty: it drains the decoder
            except (av.error.FFmpegError, ValueError) as error:
                self._lost = describe(error)
                self._skipped += 1
                self.stream.codec_context.flush_buffers()  # what it still holds back belongs to the damaged group
                continue
            self._lost = None
            yield from frames
        if self._lost is None and self._is_cut and self.frames_read < self._header_frames:
            self._lost = "the file is shorter than its index says"
        if self._lost is not None:
            raise self._damage(self._lost)

    def _packets(self) -> Iterator[Any]:
        errors = 0
        while errors < _MAX_READ_ERRORS:
            try:
                for packet in self.container.demux(self.stream):
                    errors = 0
                    yield packet
            except BlockingIOError:
                time.sleep(0.005)  # a camera that has no new picture yet
            except (av.error.FFmpegError, OSError) as error:
                self._lost = describe(error)
                errors += 1
            else:
                return

    def _damage(self, reason: str) -> VideoError:
        expected = f" of {self._header_frames}" if self._header_frames else ""
        if not self.frames_read:
            limit = f"{max_pixels() / 1e6:.0f} megapixels"
            return VideoError(
                f"{self.label}: no frame could be decoded{expected} ({reason}). The video is damaged, cut off or above {limit}."
            )
        return DamagedVideoError(
            f"{self.label}: damaged after frame {self.frames_read - 1}; {self.frames_read}{expected} frames were read "
            f"({reason}). The rest of the file is missing or broken: copy or record it again.",
            self.frames_read,
        )

    def _time(self, frame: Any) -> Fraction:  # noqa: ANN401  PyAV frame
        """Seconds since the first frame; clocks that are missing, stand still or restart (joined recordings) are mended."""
        step = 1 / (self.rate or Fraction(25))
        tick = frame.time_base or Fraction(1, 1000)
        if frame.pts is None:
            now = Fraction(0) if self._last is None else self._last + step
        else:
            if self._start is None:
                self._start = frame.pts * tick - (Fraction(0) if self._last is None else self._last + step)
            now = frame.pts * tick - self._start
        if self._last is not None:
            if now < self._last - _JUMP * step:
                self._restarts += 1
                self._start, now = frame.pts * tick - (self._last + step), self._last + step
            now = max(now, self._last + tick)
            even = self.rate is not None and abs(now - self._last - step) <= max(tick, Fraction(1, 2000))
            self.is_constant_rate = even and self.is_constant_rate is not False
        self._last = now
        return now

    def _to_rgb(self, frame: Any) -> np.ndarray:  # noqa: ANN401  PyAV frame
        has_alpha = any(component.is_alpha for component in frame.format.components) or frame.format.has_palette
        try:
            shown = self._reformatter.reformat(frame, format="rgba" if has_alpha else "rgb24", threads=1)
            pixels = shown.to_ndarray()  # (H, W, 3 or 4)
        except (av.error.FFmpegError, ValueError) as error:
            kind = frame.format.name
            raise VideoError(
                f"{self.label}: frame {self.frames_read} of pixel format {kind} cannot be turned into RGB ({describe(error)})."
            ) from error
        return turn_upright(over_white(pixels) if has_alpha else pixels, self._turn_of(frame))

    def _turn_of(self, frame: Any) -> Turn:  # noqa: ANN401  PyAV frame
        """The turn of the display matrix, which PyAV does not apply.

        Looked up again only when FFmpeg's angle changes: a frame whose side data was touched is in a reference cycle and
        stays in memory until the garbage collector runs, some hundred frames later.
        """
        if self._angle != frame.rotation:
            self._angle = frame.rotation
            data = frame.side_data.get("DISPLAYMATRIX")
            turn = UPRIGHT if data is None else turn_from_display_matrix(bytes(data))
            if turn is None:
                self.notes.append("The display matrix is no multiple of 90 degrees; frames are kept as stored.")
            self._turn = turn or UPRIGHT
            self.rotation = self._turn.degrees
        return self._turn

    def _tell_differences(self) -> None:
        count = self._header_frames
        if self._skipped:
            self.notes.append(f"{self._skipped} packets could not be decoded and were skipped up to the next keyframe.")
        if self._concealed:
            self.notes.append(f"{self._concealed} frames had broken parts that the decoder concealed.")
        if self._restarts:
            self.notes.append(f"The clock of the file jumped back {self._restarts} times; times go on from there.")
        if count and count != self.frames_read:
            self.notes.append(f"The header says {count} frames, {self.frames_read} were decoded.")
            self.num_frames = self.frames_read


def _nominal_rate(stream: Any) -> Fraction | None:  # noqa: ANN401  PyAV stream
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate and 0 < rate <= 1000:
            return Fraction(rate)
    return None


def _ends_before_its_index_says(stream: Any, path: str) -> bool:  # noqa: ANN401  PyAV stream
    """Whether the last indexed packet lies beyond the end of the file (MP4 with the index in front, cut off)."""
    entries = getattr(stream, "index_entries", None)
    if not entries or not stream.frames:
        return False
    return entries[-1].pos + entries[-1].size > Path(path).stat().st_size
