"""Encoder settings, colours and the final form of MP4 files, for VideoWriter."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from dense.errors import VideoError
from dense.video.containers import OutputKind

__all__ = ["add_video_stream", "finish_mp4", "to_video_frame"]

_CLOCK = 90_000  # ticks per second at least: the clock of MPEG systems, fine enough for any camera
_SECONDS_PER_KEYFRAME = 2
_BT709 = 1  # number in ITU-T H.273, as matrix, primaries and transfer
_BT601 = 6


def add_video_stream(
    container: Any,  # noqa: ANN401  PyAV container
    kind: OutputKind,
    size: tuple[int, int],
    rate: Fraction,
    quality: int,
) -> tuple[Any, Fraction]:
    """Add the one video stream of an output file.

    Args:
        container: open for writing.
        kind: container and encoders.
        size: even ``(height, width)`` in pixels.
        rate: nominal frames per second.
        quality: x264's constant rate factor.

    Returns: the stream and its clock's tick in seconds.
    Raises: VideoError if this FFmpeg has none of the encoders.
    """
    name = next((encoder for encoder in kind.encoders if encoder in av.codecs_available), None)
    if name is None:
        raise VideoError(f"{container.name}: FFmpeg has none of the encoders {list(kind.encoders)}. Choose another extension.")
    stream = container.add_stream(name, rate=rate, options=_encoder_options(name, quality))
    stream.height, stream.width = size
    stream.pix_fmt = "yuv420p"
    tick = _tick(rate) if kind.keeps_times else 1 / rate
    context = stream.codec_context
    context.time_base = tick
    context.gop_size = max(1, round(_SECONDS_PER_KEYFRAME * rate))
    # Frame threads and B-frames hold frames back inside the encoder, and a kill would lose them.
    context.max_b_frames = 0
    context.thread_type = "SLICE"
    # MPEG-4 part 2 and VP8 cannot say their matrix; every player then takes BT.601.
    context.colorspace = context.color_primaries = context.color_trc = _BT601 if name in ("mpeg4", "libvpx") else _BT709
    context.color_range = ColorRange.MPEG
    return stream, tick


def _tick(rate: Fraction) -> Fraction:
    """A clock of at least 90,000 ticks a second in which one frame step is a whole number of ticks."""
    times = max(1, -(-_CLOCK // rate.numerator))
    return Fraction(1, rate.numerator * times)


def _encoder_options(name: str, quality: int) -> dict[str, str]:
    if name == "libx264":
        return {"crf": str(quality), "preset": "veryfast", "rc-lookahead": "8"}
    if name == "libvpx-vp9":
        # VP9's scale ends at 63, and 31 is what its authors recommend where x264 would have about 20.
        vp9 = str(min(63, round(quality * 1.5)))
        return {"crf": vp9, "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1", "lag-in-frames": "8"}
    if name == "libvpx":
        return {"crf": str(min(63, max(4, quality))), "b": "4M", "deadline": "good", "cpu-used": "4"}
    if name == "mpeg4":
        scale = str(max(1, min(31, round(quality / 7))))
        return {"qmin": scale, "qmax": scale, "b": "200M"}
    return {}


def to_video_frame(image: np.ndarray, padded: tuple[int, int], pts: int, tick: Fraction, stream: Any) -> Any:  # noqa: ANN401  PyAV objects
    """Pad ``(H, W, 3)`` uint8 RGB at the bottom and right by its edge; convert to the stream's 4:2:0 and give it a time."""
    if any(padded):
        image = np.pad(image, ((0, padded[0]), (0, padded[1]), (0, 0)), mode="edge")
    rgb = av.VideoFrame.from_ndarray(image, format="rgb24")
    matrix = Colorspace.ITU709 if stream.codec_context.colorspace == _BT709 else Colorspace.ITU601
    frame = rgb.reformat(format=stream.pix_fmt, dst_colorspace=matrix, dst_color_range=ColorRange.MPEG, threads=1)
    frame.pts = pts
    frame.time_base = tick
    return frame


def finish_mp4(path: Path, container: str) -> None:
    """Make a fragmented MP4 or MOV an ordinary one with its index in front, without encoding again; replaces the file.

    Raises: FFmpeg's or the system's error; the fragmented file then stays as it was.
    """
    finished = path.with_name(f".{path.name}.tmp")
    try:
        with (
            av.open(str(path.absolute())) as source,
            av.open(str(finished.absolute()), "w", format=container, options={"movflags": "faststart"}) as target,
        ):
            video = source.streams.video[0]
            copy = target.add_stream_from_template(video)
            for packet in source.demux(video):
                if packet.dts is not None:  # the last one is empty
                    packet.stream = copy
                    target.mux(packet)
        finished.replace(path)
    except BaseException:
        finished.unlink(missing_ok=True)
        raise
