"""Maps of ids in PNG files: panoptic ids in three channels, class labels in one."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dense.errors import DataError
from dense.io import atomic_write
from dense.video.pictures import open_picture

__all__ = ["colours_to_ids", "ids_to_colours", "read_id_map", "read_label_map", "write_id_map", "write_label_map"]


def colours_to_ids(colours: NDArray[np.uint8]) -> NDArray[np.int32]:
    """``(H, W, 3)`` uint8 → ``(H, W)`` int32: R + 256 G + 65536 B."""
    red, green, blue = (colours[..., channel].astype(np.int32) for channel in range(3))
    return red + 256 * green + 65536 * blue


def ids_to_colours(ids: NDArray[np.integer]) -> NDArray[np.uint8]:
    """``(H, W)`` ids from 0 to 2**24 - 1 → ``(H, W, 3)`` uint8. Raises: DataError for an id outside of that range."""
    if ids.size and (ids.min() < 0 or ids.max() >= 1 << 24):
        raise DataError(f"panoptic map: ids from {ids.min()} to {ids.max()}, expected 0 to {(1 << 24) - 1}.")
    return np.stack([ids & 255, (ids >> 8) & 255, ids >> 16], axis=-1).astype(np.uint8)


def read_id_map(path: str | os.PathLike[str], size: tuple[int, int] | None = None) -> NDArray[np.int32]:
    """Read a panoptic PNG.

    Args:
        path: an RGB picture.
        size: expected (height, width) in pixels.

    Returns: ``(H, W)`` int32 segment ids.
    Raises: DataError naming the file if it is missing, broken, not RGB, or of another size.
    """
    pixels, mode = _read(path)
    if mode not in ("RGB", "RGBA"):
        raise DataError(f"{path}: has mode {mode}, expected an RGB picture (id = R + 256 G + 65536 B).")
    return _sized(colours_to_ids(pixels[..., :3]), size, path)


def read_label_map(path: str | os.PathLike[str], size: tuple[int, int] | None = None) -> NDArray[np.int32]:
    """Read a PNG of class labels: gray values (8 or 16 bits) or palette indices.

    Args:
        path: a picture of one channel.
        size: expected (height, width) in pixels.

    Returns: ``(H, W)`` int32.
    Raises: DataError naming the file if it is missing, broken, not of one channel, or of another size.
    """
    pixels, mode = _read(path)
    if pixels.ndim != 2 or mode in ("F", "1"):
        raise DataError(f"{path}: has mode {mode}, expected one channel whose values are class labels.")
    labels = pixels.astype(np.int32)
    if labels.min() < 0 or labels.max() > 65535:
        raise DataError(f"{path}: has values from {labels.min()} to {labels.max()}, expected labels from 0 to 65535.")
    return _sized(labels, size, path)


def write_id_map(path: str | os.PathLike[str], ids: NDArray[np.integer]) -> None:
    """Write ``(H, W)`` segment ids as RGB PNG, atomically. Raises: DataError as ``ids_to_colours``."""
    _write(path, ids_to_colours(ids))


def write_label_map(path: str | os.PathLike[str], labels: NDArray[np.integer]) -> None:
    """Write ``(H, W)`` labels as gray PNG, atomically: 8 bits, or 16 where a value needs them.

    Raises: DataError for a value outside of 0 to 65535.
    """
    if labels.size and (labels.min() < 0 or labels.max() > 65535):
        raise DataError(f"{path}: labels from {labels.min()} to {labels.max()}, expected 0 to 65535.")
    _write(path, labels.astype(np.uint16 if labels.size and labels.max() > 255 else np.uint8))


def _read(path: str | os.PathLike[str]) -> tuple[NDArray[Any], str]:
    with open_picture(path) as image:
        return np.asarray(image), image.mode


def _sized(ids: NDArray[np.int32], size: tuple[int, int] | None, path: str | os.PathLike[str]) -> NDArray[np.int32]:
    if size is not None and ids.shape != tuple(size):
        raise DataError(
            f"{path}: picture is {ids.shape[0]}x{ids.shape[1]} (height x width), expected {size[0]}x{size[1]} like its image."
        )
    return ids


def _write(path: str | os.PathLike[str], pixels: NDArray[Any]) -> None:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    with atomic_write(Path(path), "wb") as file:
        file.write(stream.getvalue())
