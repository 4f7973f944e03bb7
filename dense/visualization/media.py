"""Pictures and videos as ``data:`` addresses, so that a page carries everything it shows."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dense.errors import DataError

__all__ = ["Picture", "encode_frame", "picture_address", "video_address", "video_bytes"]

Picture = NDArray[Any] | bytes | Path
"""``(H, W, 3)`` uint8 RGB array, PNG or JPEG bytes, or the path of such a file."""

_KINDS = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png"}


def encode_frame(image: NDArray[Any], max_width: int = 640, quality: int = 85) -> bytes:
    """Compress ``(H, W, 3)`` uint8 RGB as JPEG, shrunk to at most ``max_width`` pixels wide.

    Raises: DataError if shape or type differ.
    """
    from PIL import Image

    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise DataError(f"frame: is {image.dtype} {image.shape}, expected a (H, W, 3) uint8 RGB array.")
    picture = Image.fromarray(np.ascontiguousarray(image))
    if picture.width > max_width:
        height = max(1, round(picture.height * max_width / picture.width))
        picture = picture.resize((max_width, height), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality, optimize=True)
    return stream.getvalue()


def picture_address(picture: Picture) -> str:
    """``data:`` address of a picture: RGB array (compressed by ``encode_frame``), PNG or JPEG bytes, or such a file.

    Raises: DataError if it cannot be read or is neither PNG nor JPEG.
    """
    data = encode_frame(picture) if isinstance(picture, np.ndarray) else _content(picture)
    for magic, kind in _KINDS.items():
        if data.startswith(magic):
            return _address(kind, data)
    raise DataError(f"{_source(picture)}: is neither PNG nor JPEG. Pass an RGB array or encode it as one of these.")


def video_bytes(video: bytes | Path) -> bytes:
    """Content of an MP4 video.

    Raises: DataError if it cannot be read or is no MP4 (browsers play H.264 in MP4).
    """
    data = _content(video)
    if data[4:8] != b"ftyp":
        raise DataError(f"{_source(video)}: is not an MP4 file, expected H.264 in MP4. Write the video with dense.video.")
    return data


def video_address(data: bytes) -> str:
    """``data:`` address of MP4 bytes."""
    return _address("video/mp4", data)


def _address(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _content(source: bytes | Path) -> bytes:
    if isinstance(source, bytes):
        return source
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise DataError(f"{source}: cannot be read ({error.strerror or error}).") from error


def _source(source: object) -> str:
    return str(source) if isinstance(source, str | Path) else "the bytes given"
