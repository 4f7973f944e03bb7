"""Run-length masks in COCO's compressed form: ``{"size": [H, W], "counts": str}``, column-major runs, zeros first."""

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from dense.errors import DataError, shown
from dense.limits import MAX_OUTLINE, max_pixels

__all__ = ["RLE", "area", "bounding_box", "decode", "encode", "encode_stack", "to_rle"]


_MOST_PIXELS = 1 << 32  # the C library counts in 32 bits


class RLE(TypedDict):
    """A compressed run-length mask; ``size`` is (height, width) in pixels, ``counts`` is ASCII text."""

    size: list[int]
    counts: str


def encode(mask: NDArray[Any]) -> RLE:
    """Compress one mask ``(H, W)``; anything but zero is inside."""
    return encode_stack(np.asarray(mask)[None])[0]


def encode_stack(masks: NDArray[Any]) -> list[RLE]:
    """Compress ``(N, H, W)`` masks at once."""
    from pycocotools import mask as coco_mask

    if masks.ndim != 3:
        raise DataError(f"masks: shape {tuple(masks.shape)}, expected (N, H, W).")
    if len(masks) == 0:
        return []
    columns = np.asfortranarray((masks != 0).transpose(1, 2, 0).astype(np.uint8))  # a value other than 0 and 1 would break runs
    return [_to_text(rle) for rle in coco_mask.encode(columns)]


def decode(rle: RLE) -> NDArray[np.bool_]:
    """Expand to a ``(H, W)`` bool mask. Raises: DataError if the runs are malformed or do not fill the size."""
    from pycocotools import mask as coco_mask

    checked = _check(rle)
    return np.zeros(rle["size"], bool) if checked is None else coco_mask.decode(checked).astype(bool)


def area(rle: RLE) -> int:
    """Number of pixels inside. Raises: as ``decode``."""
    from pycocotools import mask as coco_mask

    checked = _check(rle)
    return 0 if checked is None else int(coco_mask.area(checked))


def bounding_box(rle: RLE) -> list[float]:
    """``[x, y, width, height]`` in pixels; all zero for an empty mask. Raises: as ``decode``."""
    from pycocotools import mask as coco_mask

    checked = _check(rle)
    return [0.0] * 4 if checked is None else [float(v) for v in coco_mask.toBbox(checked)]


def to_rle(segmentation: object, height: int, width: int, where: str = "segmentation") -> RLE | None:
    """Bring any COCO segmentation to compressed RLE at the stated size.

    Args:
        segmentation: ``None``, compressed RLE, uncompressed RLE (``counts`` a list), or polygons (list of flat x, y lists).
        height: expected height in pixels.
        width: expected width in pixels.
        where: prefix of error messages, for instance ``"valid.json: annotations[3].segmentations[2]"``.

    Returns: compressed RLE, or ``None`` for ``None`` and for an empty polygon list.
    Raises: DataError naming ``where`` if size, counts or polygons are wrong.
    """
    if segmentation is None:
        return None
    if height * width >= _MOST_PIXELS:
        raise DataError(f"{where}: mask of {height}x{width} pixels (height x width), expected fewer than 2^32 pixels.")
    if isinstance(segmentation, dict):
        return _from_mapping(segmentation, height, width, where)
    if isinstance(segmentation, Sequence) and not isinstance(segmentation, str | bytes):
        return _from_polygons(segmentation, height, width, where) if len(segmentation) else None
    raise DataError(f"{where}: is {type(segmentation).__name__}, expected RLE, polygons or null.")


def _to_text(rle: dict[str, Any]) -> RLE:
    counts = rle["counts"]
    return {"size": [int(s) for s in rle["size"]], "counts": counts.decode("ascii") if isinstance(counts, bytes) else counts}


def _check(rle: RLE) -> RLE | None:
    """The mask if it is sound, ``None`` if it has no pixels (the C library divides by its height)."""
    size = rle.get("size")
    if not isinstance(size, list | tuple) or len(size) != 2 or not all(isinstance(s, int) and s >= 0 for s in size):
        raise DataError(f"mask: RLE `size` is {shown(size)}, expected [height, width].")
    checked = _from_mapping(dict(rle), size[0], size[1], "mask")
    return checked if size[0] * size[1] else None


def _from_mapping(rle: dict[str, Any], height: int, width: int, where: str) -> RLE:
    size, counts = rle.get("size"), rle.get("counts")
    if not isinstance(size, list | tuple) or len(size) != 2 or not all(isinstance(s, int) and s >= 0 for s in size):
        raise DataError(f"{where}: RLE `size` is {shown(size)}, expected [height, width].")
    if list(size) != [height, width]:
        raise DataError(
            f"{where}: RLE size is {size[0]}x{size[1]} (height x width), expected {height}x{width}."
            " Re-export the masks at the video's size."
        )
    if height * width > max_pixels():
        raise DataError(f"{where}: RLE of {height}x{width} pixels, the limit is {max_pixels() / 1e6:.0f} megapixels.")
    if isinstance(counts, list):
        return _compress_counts(counts, height, width, where)
    if isinstance(counts, bytes):
        counts = counts.decode("ascii", errors="replace")
    if not isinstance(counts, str):
        raise DataError(f"{where}: RLE `counts` is {type(counts).__name__}, expected text or a list of integers.")
    total = _sum_of_runs(counts)
    if total is None:
        raise DataError(f"{where}: RLE counts are malformed ({counts[:40]!r}). Re-export the masks.")
    if total != height * width:
        raise DataError(f"{where}: RLE counts cover {total} pixels, expected {height * width} ({height}x{width}).")
    return {"size": [height, width], "counts": counts}


def _sum_of_runs(counts: str) -> int | None:
    """Total of the runs of compressed counts (COCO's 6-bit code, deltas to the run two before), ``None`` if malformed.

    The C library behind ``decode`` trusts its input: wrong counts would read and write out of bounds.
    """
    if not counts.isascii():
        return None
    codes = np.frombuffer(counts.encode("ascii"), np.uint8).astype(np.int64) - 48
    if codes.size == 0:
        return 0
    ends = np.flatnonzero((codes & 32) == 0)  # the last character of each run
    if codes.min() < 0 or codes.max() > 63 or len(ends) == 0 or ends[-1] != codes.size - 1:
        return None
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > 7 or ((lengths == 7) & (codes[ends] > 1)).any():  # more than the library's 32 bits
        return None
    places = np.arange(codes.size) - np.repeat(starts, lengths)
    deltas = np.add.reduceat((codes & 31) << (5 * places), starts)
    deltas -= np.where(codes[ends] & 16, 1 << (5 * lengths), 0)
    runs = deltas.copy()
    runs[1::2] = np.cumsum(deltas[1::2])
    runs[2::2] = np.cumsum(deltas[2::2])
    return None if runs.min() < 0 else int(runs.sum())


def _compress_counts(counts: list[Any], height: int, width: int, where: str) -> RLE:
    from pycocotools import mask as coco_mask

    if not all(isinstance(c, int) and c >= 0 for c in counts):
        raise DataError(f"{where}: uncompressed RLE `counts` holds something other than non-negative integers.")
    if sum(counts) != height * width:
        raise DataError(f"{where}: RLE counts cover {shown(sum(counts))} pixels, expected {height * width} ({height}x{width}).")
    return _to_text(coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width))


def _from_polygons(polygons: Sequence[Any], height: int, width: int, where: str) -> RLE:
    from pycocotools import mask as coco_mask

    if isinstance(polygons[0], int | float):
        polygons = [polygons]  # one flat polygon instead of a list of them
    for index, polygon in enumerate(polygons):
        flat = isinstance(polygon, list | tuple) and all(isinstance(v, int | float) for v in polygon)
        if not flat or len(polygon) < 6 or len(polygon) % 2:
            raise DataError(f"{where}[{index}]: polygon needs at least 3 points as a flat list x1, y1, x2, y2, …")
        limit = 10 * max(height, width)  # the C library crashes on coordinates far outside
        if not all(-limit <= v <= limit for v in polygon):  # also false for NaN
            raise DataError(f"{where}[{index}]: polygon has a coordinate beyond {limit} pixels in a frame of {height}x{width}.")
    outline = sum(_outline(polygon) for polygon in polygons)
    if outline > MAX_OUTLINE:
        raise DataError(f"{where}: outlines of {outline:.0f} pixels, the limit is {MAX_OUTLINE}. Store the mask as RLE.")
    return _to_text(coco_mask.merge(coco_mask.frPyObjects([list(p) for p in polygons], height, width)))


def _outline(polygon: Sequence[float]) -> float:
    """Steps in pixels around a polygon: what drawing it costs."""
    points = np.asarray(polygon, float).reshape(-1, 2)
    return float(np.abs(points - np.roll(points, 1, axis=0)).max(axis=1).sum())
