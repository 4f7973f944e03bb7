"""Readers of pictures and videos; the valid ones are made here, tiny."""

import io
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from dense.data.formats.image_files import picture_size
from dense.data.mappers.image_reading import read_image
from dense.video import open_frames, probe, read_picture

from .byte_mutations import mutate_bytes
from .invariants import MOST_PIXELS, check_number, require
from .reader import Reader, Sample

__all__ = ["MEDIA_READERS"]

HEIGHT, WIDTH, FRAMES = 16, 24, 5
_MOST_FRAMES = 60


def _pixels(frame: int = 0, channels: int = 3) -> np.ndarray:
    rng = np.random.default_rng(frame)
    rows = np.linspace(0, 200, HEIGHT)[:, None, None] + np.arange(WIDTH)[None, :, None]
    return np.clip(rows + rng.integers(0, 20, (1, 1, channels)) + 4 * frame, 0, 255).astype(np.uint8)


def _encoded(kind: str, image: Image.Image, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _pictures(eight_bit: bool, folder: Path) -> list[Sample]:
    colour, alpha = Image.fromarray(_pixels()), Image.fromarray(_pixels(0, 4))
    exif = Image.Exif()
    exif[0x0112] = 6
    samples = [
        Sample(".png", _encoded("PNG", colour)),
        Sample(".png", _encoded("PNG", alpha)),
        Sample(".png", _encoded("PNG", colour.convert("P"), transparency=3)),
        Sample(".jpg", _encoded("JPEG", colour, exif=exif)),
        Sample(".jpg", _encoded("JPEG", colour.convert("CMYK"), progressive=True)),
        Sample(".bmp", _encoded("BMP", colour)),
        Sample(".tif", _encoded("TIFF", colour, compression="tiff_lzw")),
        Sample(".tiff", _encoded("TIFF", colour.convert("L"), tiffinfo={274: 3})),
        Sample(".webp", _encoded("WEBP", colour, lossless=True)),
        Sample(".webp", _encoded("WEBP", alpha)),
    ]
    wide = Image.fromarray(_pixels()[:, :, 0].astype(np.uint16) * 257)
    return samples if eight_bit else [*samples, Sample(".png", _encoded("PNG", wide))]


def _check_picture(pixels: np.ndarray) -> None:
    require(pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype == np.uint8, f"{pixels.shape} {pixels.dtype}")
    require(0 < pixels.shape[0] * pixels.shape[1] <= MOST_PIXELS, f"{pixels.shape}")


def _read_picture(path: Path) -> None:
    pixels = read_picture(path)
    _check_picture(pixels)
    width, height = picture_size(path)
    require(pixels.shape[:2] == (height, width), f"{pixels.shape}, the header says {height} x {width}")


def _read_training_picture(path: Path) -> None:
    pixels = read_image(path)
    _check_picture(pixels)


_CONTAINERS = {  # extension: encoder, pixel format
    ".mp4": ("libx264", "yuv420p"),
    ".mov": ("mpeg4", "yuv420p"),
    ".mkv": ("libx264", "yuv444p"),
    ".webm": ("libvpx", "yuv420p"),
    ".avi": ("mpeg4", "yuv420p"),
    ".gif": ("gif", "rgb8"),
}


def _video(path: Path, encoder: str, pixel_format: str) -> Sample:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(encoder, rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixel_format
        stream.codec_context.thread_count = 1
        for index in range(FRAMES):
            for packet in stream.encode(av.VideoFrame.from_ndarray(_pixels(index), format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    sample = Sample(path.suffix, path.read_bytes())
    path.unlink()
    return sample


def _videos(folder: Path) -> list[Sample]:
    return [_video(folder / f"made{suffix}", *kind) for suffix, kind in _CONTAINERS.items()]


def _read_video(path: Path) -> None:
    last = -1.0
    with open_frames(path) as source:
        for index, frame in enumerate(itertools.islice(source, _MOST_FRAMES)):
            _check_picture(frame.image)
            require(frame.index == index and frame.image.shape[:2] == source.size, f"frame {frame.index} of {source.size}")
            check_number(frame.time_s, "time", 0)
            require(frame.time_s > last and (index > 0 or frame.time_s == 0), f"time {frame.time_s} after {last}")
            last = frame.time_s
        require(source.frames_read > 0, "no frame and no error")
        require(source.num_frames is None or 0 < source.num_frames < 1 << 62, f"{source.num_frames} frames")
        require(source.rate is None or 0 < source.rate <= 1000, f"rate {source.rate}")


def _probe(path: Path) -> None:
    info = probe(path)
    require(len(info.size) == 2 and 0 < info.size[0] * info.size[1] <= MOST_PIXELS, f"size {info.size}")
    require(info.rotation in (0, 90, 180, 270), f"rotation {info.rotation}")
    require(info.duration_s is None or info.duration_s >= 0, f"duration {info.duration_s}")


MEDIA_READERS: Sequence[Reader] = (
    Reader("picture", lambda folder: _pictures(False, folder), mutate_bytes, _read_picture),
    Reader("training_picture", lambda folder: _pictures(True, folder), mutate_bytes, _read_training_picture),
    Reader("video", _videos, mutate_bytes, _read_video),
    Reader("probe", _videos, mutate_bytes, _probe),
)
