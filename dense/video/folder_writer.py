"""``FrameFolderWriter``: one PNG per frame, each written atomically."""

import os
from pathlib import Path
from types import TracebackType

import numpy as np

from dense.errors import DataError, VideoError
from dense.io import atomic_write
from dense.video.frames import check_image, describe

__all__ = ["FrameFolderWriter", "FrameStems"]


class FrameStems:
    """Names of files for frames, each once."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def free(self, name: str | None, number: int) -> str:
        """``name`` without folder and extension or six digits; a name used before (``1.jpg``, ``1.png``) has them appended."""
        index = f"{number:06d}"
        stem = (Path(name).stem if name else index) or index
        if stem in self._used:
            stem = f"{stem}_{index}"
        self._used.add(stem)
        return stem


class FrameFolderWriter:
    """A context manager that writes frames as lossless PNG files; whatever happens, each file is whole or absent.

    Attributes:
        folder: where the files go; made if missing.
        frames_written: frames written so far.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Make the folder.

        Raises: VideoError if it is a file or cannot be made.
        """
        self.folder = Path(folder)
        self.frames_written = 0
        self._stems = FrameStems()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise VideoError(f"{self.folder}: cannot be made ({describe(error)}). Expected a folder for frames.") from error

    def __enter__(self) -> "FrameFolderWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Nothing to finish: every file is complete."""

    def write(self, image: np.ndarray, time_s: float | None = None, name: str | None = None) -> Path:
        """Write one frame as ``<name without folder and extension>.png``, or ``<index, six digits>.png``.

        Args:
            image: ``(H, W, 3)`` uint8 RGB or ``(H, W)`` uint8 gray.
            time_s: taken for the sake of VideoWriter, not kept.
            name: of the frame it comes from. A name used before (``1.jpg`` and ``1.png``) gets the index appended.

        Returns: the file.
        Raises: VideoError for a wrong picture or a folder that cannot take it.
        """
        from PIL import Image

        picture = check_image(image, f"{self.folder}: frame {self.frames_written}")
        path = self.folder / f"{self._stems.free(name, self.frames_written)}.png"
        try:
            with atomic_write(path, "wb") as stream:
                # Level 1 of 9: higher levels cost several times the time for a few per cent of size.
                Image.fromarray(picture).save(stream, format="PNG", compress_level=1)
        except DataError as error:
            raise VideoError(str(error)) from error
        except OSError as error:
            raise VideoError(f"{path}: cannot be written ({describe(error)}). Is the disk full?") from error
        self.frames_written += 1
        return path
