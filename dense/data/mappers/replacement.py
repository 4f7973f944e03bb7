"""Records of pictures that cannot be read are replaced by those of others, and say so."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np

from dense.data.formats.picture_sets import PictureSet
from dense.errors import DataError

__all__ = ["SKIPPED", "Replacement", "ReplacingMapper"]

SKIPPED = "skipped"
"""Key of a record that stands for pictures that could not be read: ``((name, reason), …)``."""

_DRAWN = 20  # replacements drawn at random before all pictures are tried in turn


@dataclass(frozen=True)
class Replacement:
    """Finds the record of a picture or, where that cannot be read, of another one.

    Args:
        pictures: all of them.
        name: of the data set, for messages.
    """

    pictures: PictureSet
    name: str
    _broken: dict[int, str] = field(default_factory=dict, repr=False, compare=False)

    def record(
        self, make: Callable[[int, np.random.Generator], dict[str, Any]], index: int, rng: np.random.Generator
    ) -> dict[str, Any]:
        """What ``make`` returns for the first picture that it raises no DataError for, beginning with ``index``.

        Where pictures were passed over it has ``SKIPPED``. It depends on nothing but index and generator: which picture
        replaces which does too.
        Raises: DataError if not one picture can be used.
        """
        key = int(rng.integers(2**63))
        skipped: list[tuple[str, str]] = []
        for attempt, candidate in enumerate(self._candidates(index, key)):
            if candidate not in self._broken:
                try:
                    # Its own generator: what a broken picture drew before it failed must not matter to the next one.
                    record = make(candidate, np.random.default_rng([key, attempt]))
                except DataError as error:
                    self._broken[candidate] = str(error)
                else:
                    return {**record, SKIPPED: tuple(dict.fromkeys(skipped))} if skipped else record
            if attempt <= _DRAWN:
                skipped.append((self.pictures.name(candidate), self._broken[candidate]))
        raise DataError(
            f"data set {self.name!r}: none of its {len(self.pictures)} pictures can be used. The first: {skipped[0][1]}"
        )

    def _candidates(self, index: int, key: int) -> Iterator[int]:
        """The picture itself, some at random (neighbours tend to be broken together), then every one."""
        yield index
        rng = np.random.default_rng(key)
        yield from (int(k) for k in rng.integers(len(self.pictures), size=_DRAWN))
        yield from range(len(self.pictures))


Pictures = TypeVar("Pictures", bound=PictureSet)
Settings = TypeVar("Settings")


@dataclass(frozen=True)
class ReplacingMapper(Generic[Pictures, Settings]):
    """Index and generator → record for the model; what cannot be used is replaced by another picture.

    Args:
        pictures: all of them.
        settings: of the records.
        name: of the data set, for messages.

    Raises (when called): DataError if not one picture can be used.
    """

    pictures: Pictures
    settings: Settings
    name: str = "of pictures"
    _replacement: Replacement = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_replacement", Replacement(self.pictures, self.name))

    def __call__(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """The record of picture ``index``."""
        return self._replacement.record(self._record, index, rng)

    def _record(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """The record of this very picture. Raises: DataError if it cannot be used."""
        raise NotImplementedError
