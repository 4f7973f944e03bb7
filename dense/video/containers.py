"""Opening media files for reading, choosing the video stream, and the table of containers that can be written."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dense.errors import VideoError
from dense.limits import max_pixels
from dense.video.frames import describe

__all__ = ["OUTPUT_KINDS", "OutputKind", "check_output_path", "choose_stream", "open_container"]

# Formats that FFmpeg opens as "video" although they are lists of other files, or text drawn as a picture.
_NOT_VIDEO = {"adf", "bin", "concat", "dash", "hls", "idf", "imf", "tty", "xbin"}


@dataclass(frozen=True)
class OutputKind:
    """How an extension is written.

    Attributes:
        container: FFmpeg's name.
        encoders: in order of preference.
        options: of the container; chosen so that a file whose writer was killed still plays.
        is_mp4: whether the file is written in fragments and made an ordinary file at the end.
        keeps_times: whether every frame can have its own time.
    """

    container: str
    encoders: tuple[str, ...]
    options: dict[str, str]
    is_mp4: bool = False
    keeps_times: bool = True


_H264 = ("libx264", "libopenh264", "mpeg4")
_FRAGMENTS = {"movflags": "frag_every_frame+empty_moov+default_base_moof"}
_SHORT_CLUSTERS = {"cluster_time_limit": "200"}  # milliseconds; FFmpeg keeps a cluster in memory until it is complete
OUTPUT_KINDS = {
    ".mp4": OutputKind("mp4", _H264, _FRAGMENTS, is_mp4=True),
    ".m4v": OutputKind("mp4", _H264, _FRAGMENTS, is_mp4=True),
    ".mov": OutputKind("mov", _H264, _FRAGMENTS, is_mp4=True),
    ".mkv": OutputKind("matroska", _H264, _SHORT_CLUSTERS),
    ".webm": OutputKind("webm", ("libvpx-vp9", "libvpx"), _SHORT_CLUSTERS),
    ".avi": OutputKind("avi", ("mpeg4",), {}, keeps_times=False),
}


def check_output_path(path: str | os.PathLike[str]) -> Path:
    """Check, before anything expensive runs, that a video can be written to ``path``; makes missing parent folders.

    Raises: VideoError if the extension is none of OUTPUT_KINDS, the path is a folder, or its folder cannot be made or
        written to.
    """
    target = Path(path)
    known = ", ".join(OUTPUT_KINDS)
    if target.is_dir():
        raise VideoError(f"{target}: is a folder. Expected a file name for the video, ending in one of {known}.")
    if target.suffix.lower() not in OUTPUT_KINDS:
        found = f"unknown extension {target.suffix!r}" if target.suffix else "no extension"
        raise VideoError(f"{target}: {found}. Expected a video file name ending in one of {known}.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target.parent):  # os.access is wrong on network drives and for root
            pass
    except OSError as error:
        raise VideoError(f"{target}: cannot be written ({describe(error)}). Give a folder you may write to.") from error
    return target


def open_container(path: str | os.PathLike[str]) -> Any:  # noqa: ANN401  PyAV has no public base type
    """Open a local media file with PyAV; playlists cannot reach the network or leave this file.

    Raises: VideoError in one line for every reason that a file does not open.
    """
    import av

    source = Path(path)
    if source.is_dir():
        raise VideoError(f"{source}: is a folder. Expected a video file.")
    if not source.exists():
        raise VideoError(f"{source}: no such file. Expected a video file.")
    try:
        # Absolute, so that FFmpeg cannot take a name like "concat:x" for a protocol; foreign metadata may be no UTF-8.
        container = av.open(
            str(source.absolute()),
            metadata_errors="ignore",
            options={"protocol_whitelist": "file", "max_pixels": str(max_pixels())},
        )
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise VideoError(f"{source}: {_why_unreadable(source, error)}") from error
    if container.format.name.split(",")[0] in _NOT_VIDEO:
        name = container.format.name
        container.close()
        raise VideoError(f"{source}: is a text file or a list of files ({name}), no video. Give the video file itself.")
    return container


def _why_unreadable(source: Path, error: Exception) -> str:
    try:
        if source.stat().st_size == 0:
            return "is empty (0 bytes). Expected a video file."
        with source.open("rb") as stream:
            head = stream.read(12)
    except OSError as failure:
        return f"cannot be read ({describe(failure)})."
    if head[4:8] == b"ftyp":
        return "is an MP4 or MOV file that cannot be opened: cut off before its index, or damaged. Copy or record it again."
    return f"cannot be opened as a video ({describe(error)}). Expected a video file with at least one frame, not cut off."


def choose_stream(container: Any, label: str, number: int | None, notes: list[str]) -> Any:  # noqa: ANN401  PyAV objects
    """The video stream to read: the one asked for, else FFmpeg's best (normally the largest); cover pictures do not count.

    Args:
        container: an open PyAV container.
        label: begins the message.
        number: stream number in the file, or None.
        notes: gets a sentence if there was a choice.

    Raises: VideoError if there is no video stream, no such stream, or no decoder for it.
    """
    videos = [stream for stream in container.streams.video if not _is_cover(stream)]
    numbers = [stream.index for stream in videos]
    if not videos:
        kinds = sorted({"cover picture" if stream.type == "video" else stream.type for stream in container.streams})
        found = ", ".join(kinds) or "no stream at all"
        raise VideoError(f"{label}: no video stream (found: {found}). Expected a file with moving pictures.")
    if number is not None and number not in numbers:
        raise VideoError(f"{label}: stream {number} is no video stream. Expected one of {numbers}.")
    best = container.streams.best("video")
    wanted = number if number is not None else (best.index if best is not None else -1)
    chosen = next((stream for stream in videos if stream.index == wanted), None)
    chosen = chosen or max(videos, key=lambda stream: (stream.width or 0) * (stream.height or 0))
    if chosen.codec_context is None:
        raise VideoError(f"{label}: FFmpeg has no decoder for its video stream. Convert the file, to H.264 for example.")
    if len(videos) > 1:
        notes.append(f"{len(videos)} video streams {numbers}; stream {chosen.index} ({chosen.width}x{chosen.height}) is read.")
    return chosen


def _is_cover(stream: Any) -> bool:  # noqa: ANN401  PyAV stream
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)
