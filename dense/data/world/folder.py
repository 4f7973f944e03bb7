"""The folder of a world: whose it is, whether it is complete, and emptying it before it is rendered again."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dense.errors import DataError
from dense.io import read_json, write_json

__all__ = ["WorldFolder"]

_MARKER = ".dense_world.json"  # says that a folder is ours, hence may be rendered again


@dataclass(frozen=True)
class WorldFolder:
    """A folder that holds, or will hold, one world.

    Attributes:
        root: the folder.
        parameters: what its bytes depend on.
        jsons: files written last, relative to ``root``: with all of them there, the world is complete.
        folders: everything else that rendering writes.
        previews: drawn by the command line.
    """

    root: Path
    parameters: dict[str, Any]
    jsons: tuple[str, ...]
    folders: tuple[str, ...]
    previews: tuple[str, ...]

    def is_complete(self, overwrite: bool) -> bool:
        """Whether exactly this world is there.

        Raises: DataError if something else is there: another data set, or, unless ``overwrite``, another world.
        """
        present = [p for p in (self.root / name for name in (*self.jsons, *self.folders)) if p.exists()]
        if self.root.exists() and not self.root.is_dir():
            raise DataError(f"{self.root}: is a file, expected a folder for the world.")
        if not present:
            return False
        if not (self.root / _MARKER).is_file():
            raise DataError(f"{present[0]}: exists and was not made by the world. Give an empty folder.")
        if not all((self.root / name).is_file() for name in self.jsons):
            return False  # a run that was cut off
        different = read_json(self.root / _MARKER) != self.parameters
        if different and not overwrite:
            raise DataError(
                f"{self.root}: holds a world with other parameters. Give another folder, or overwrite it (--overwrite)."
            )
        return not different

    def clear(self) -> None:
        """Remove the JSON files first, then stale pictures; afterwards the marker names what is being rendered.

        Raises: DataError if something cannot be removed.
        """
        try:
            for name in self.jsons:
                (self.root / name).unlink(missing_ok=True)
            for name in self.folders:
                if (self.root / name).exists():
                    shutil.rmtree(self.root / name)
            for name in self.previews:
                (self.root / name).unlink(missing_ok=True)
        except OSError as error:
            raise DataError(
                f"{error.filename or self.root}: cannot be removed ({error.strerror}). Give another folder."
            ) from error
        write_json(self.root / _MARKER, self.parameters, indent=1)
