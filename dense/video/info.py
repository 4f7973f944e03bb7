"""``probe``: what a video file is, for reports and ``check_data``."""

import os
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from dense.video.video_file import open_video_file

__all__ = ["VideoInfo", "probe"]


@dataclass(frozen=True)
class VideoInfo:
    """What the header and the first frame of a video say.

    Attributes:
        path: the file.
        container: FFmpeg's name of the container (``mp4`` files: ``mov,mp4,…``).
        codec: name of the decoder of the stream that is read.
        pixel_format: FFmpeg's name, such as ``yuv420p``.
        size: ``(height, width)`` in pixels, upright.
        rotation: degrees clockwise (0, 90, 180, 270) by which stored frames are turned to stand upright.
        rate: nominal frames per second, or None.
        frames: frames that the header promises, or None.
        duration_s: seconds by the header, or None.
        streams: one line per stream of the file.
        notes: what is unusual (several video streams, pixels that are not square, …).
    """

    path: str
    container: str
    codec: str
    pixel_format: str
    size: tuple[int, int]
    rotation: int
    rate: Fraction | None
    frames: int | None
    duration_s: float | None
    streams: tuple[str, ...]
    notes: tuple[str, ...]


def probe(path: str | os.PathLike[str]) -> VideoInfo:
    """Read the header and decode one frame.

    Raises: VideoError if the file is no video, is empty or cut off before its index, or has no frame.
    """
    with open_video_file(path) as source:
        frames = iter(source)  # kept: a generator that is dropped closes the file
        frame = next(frames)
        return VideoInfo(
            path=source.label,
            container=source.container.format.name,
            codec=source.stream.codec_context.name,
            pixel_format=source.stream.codec_context.pix_fmt or "unknown",
            size=(frame.image.shape[0], frame.image.shape[1]),
            rotation=source.rotation,
            rate=source.rate,
            frames=source.num_frames,
            duration_s=source.container.duration / 1_000_000 if source.container.duration else None,
            streams=tuple(_stream_line(stream) for stream in source.container.streams),
            notes=tuple(source.notes),
        )


def _stream_line(stream: Any) -> str:  # noqa: ANN401  PyAV stream
    codec = stream.codec_context.name if getattr(stream, "codec_context", None) else "no decoder"
    size = f" {stream.width}x{stream.height}" if stream.type == "video" else ""
    return f"{stream.index} {stream.type} {codec}{size}"
