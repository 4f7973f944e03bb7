"""Whether pictures are there, whole, upright and of the stated size; many at once, in threads (decoding releases the lock)."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from dense.data.checking.report import Picture
from dense.data.formats.faults import FaultLog
from dense.data.formats.image_files import check_picture_file, picture_size
from dense.errors import DataError
from dense.video.frames import MAX_FRAME_PIXELS
from dense.video.pictures import read_picture

__all__ = ["PictureJob", "check_pictures", "in_threads", "picture_or_blank"]

Job = TypeVar("Job")
Result = TypeVar("Result")

_AHEAD = 64  # jobs in flight per worker


@dataclass(frozen=True)
class PictureJob:
    """One picture: JSON path of its record, id of its image or video, what it is (``image 12``), file, and (width, height) as
    stated (``None``: not stated)."""

    position: str
    record: str
    what: str
    path: Path
    size: tuple[int, int] | None


def check_pictures(jobs: Iterable[PictureJob], log: FaultLog, workers: int, decode: bool = True) -> None:
    """Note missing, broken and wrongly sized pictures, and those that EXIF turns, in the order of ``jobs``.

    Args:
        jobs: the pictures.
        log: where faults go.
        workers: threads.
        decode: read every pixel (finds pictures that are cut off), not only headers.
    """
    for job, found in in_threads(lambda job: _check(job, log.file, decode), jobs, workers):
        for kind, message in found:
            note = log.warn if kind == "EXIF orientation" else log.error
            note(kind, message, job.position, job.record)


def in_threads(work: Callable[[Job], Result], jobs: Iterable[Job], workers: int) -> Iterator[tuple[Job, Result]]:
    """Each job with its result, in order; no more than a few are in flight, so that results do not pile up."""
    pending = iter(jobs)
    with ThreadPoolExecutor(max(workers, 1)) as pool:
        while batch := list(islice(pending, _AHEAD * max(workers, 1))):
            yield from zip(batch, pool.map(work, batch), strict=True)


def picture_or_blank(path: Path, size: tuple[int, int]) -> Picture:
    """The picture at (height, width) = ``size``, or gray where it cannot be read or has another size.

    Raises: DataError for a size beyond ``MAX_FRAME_PIXELS``, which no picture can have.
    """
    if size[0] * size[1] > MAX_FRAME_PIXELS:
        raise DataError(f"{path}: stated as {size[0]}x{size[1]} (height x width), too large to be shown.")
    try:
        picture = read_picture(path)
    except DataError:
        picture = np.zeros((0, 0, 3), np.uint8)
    return picture if picture.shape[:2] == size else np.full((*size, 3), 96, np.uint8)


def _check(job: PictureJob, file: str, decode: bool) -> list[tuple[str, str]]:
    """(kind, message) of each fault of one picture."""
    path = job.path
    kind, size = "missing picture", job.size or (0, 0)
    found = []
    try:
        if path.is_file():
            kind = "broken picture"
            seen = picture_size(path)
            size = job.size or seen
            kind = "picture size" if seen != size else kind
        check_picture_file(file, path, job.what, size)
    except DataError as error:
        return [(kind, str(error) + (_exif_hint(path, size) if kind == "picture size" else ""))]
    if decode:
        try:
            read_picture(path)
        except DataError as error:
            found.append(("broken picture", str(error)))
    turn = _orientation(path)
    if turn > 1:
        what = f"has EXIF orientation {turn}; its size and masks are taken as seen upright ({size[0]}x{size[1]})."
        found.append(("EXIF orientation", f"{path}: {what} Tools that ignore EXIF see it otherwise."))
    return found


def _orientation(path: Path) -> int:
    """EXIF orientation 1 to 8; 1 where there is none."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            value = image.getexif().get(0x0112)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _exif_hint(path: Path, size: tuple[int, int]) -> str:
    turn = _orientation(path)
    if turn >= 5 and picture_size(path) == size[::-1]:
        return f" The stated size is that before EXIF orientation {turn} turns the picture."
    return ""
