"""What a check found: faults, counts, sizes, categories, and how to draw a frame."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dense.data.formats.category_table import Category
from dense.data.formats.faults import ERROR, WARNING, Fault, FaultLog

__all__ = ["SHOWN", "CategoryRow", "CheckReport", "Frame", "FrameKey", "Picture", "enlarged"]

FrameKey = tuple[str, int]
"""Image or video (its id as text), and frame (0 for an image)."""

Picture = NDArray[np.uint8]

SHOWN = (300, 400)
"""Most height and width in pixels of a picture on the contact sheet."""


def enlarged(values: NDArray[Any]) -> NDArray[Any]:
    """``(H, W, …)``, each pixel repeated as often as ``SHOWN`` has room for: names would cover the objects of tiny pictures."""
    factor = max(1, min(SHOWN[0] // max(values.shape[0], 1), SHOWN[1] // max(values.shape[1], 1)))
    return values.repeat(factor, axis=0).repeat(factor, axis=1) if factor > 1 else values


@dataclass
class CategoryRow:
    """Figures of one category: objects (segments; label maps: frames with it), images or videos with it, pixels."""

    id: int
    name: str
    isthing: bool
    objects: int = 0
    owners: set[str] = field(default_factory=set)
    pixels: int = 0


@dataclass(frozen=True)
class Frame:
    """One frame that can be shown: which, and a function that draws it, ``(H, W, 3)`` uint8 RGB (it may raise DataError)."""

    key: FrameKey
    draw: Callable[[], Picture]


@dataclass
class CheckReport:
    """The result of checking one data set.

    Attributes:
        source: annotation file or folder.
        format: one of ``FORMATS``.
        log: its faults.
        counts: number of images or videos, frames, annotations, in the order they are shown.
        sizes: ``"WIDTHxHEIGHT"`` in pixels → number of images or videos.
        lengths: number of frames of each video (empty for images).
        categories: by category id.
        frames: every frame, for the contact sheet.
        owner_of: the frame that a fault is in; ``None`` for a fault of the whole file.
    """

    source: str
    format: str
    log: FaultLog
    counts: dict[str, int] = field(default_factory=dict)
    sizes: Counter[str] = field(default_factory=Counter)
    lengths: list[int] = field(default_factory=list)
    categories: dict[int, CategoryRow] = field(default_factory=dict)
    frames: Sequence[Frame] = ()
    owner_of: Callable[[Fault], FrameKey | None] = lambda fault: None

    @property
    def faults(self) -> list[Fault]:
        """Errors and warnings in the order they were found."""
        return self.log.faults

    @property
    def errors(self) -> int:
        """Number of faults that a reader refuses."""
        return sum(fault.severity == ERROR for fault in self.faults)

    @property
    def warnings(self) -> int:
        """Number of faults that readers cope with."""
        return sum(fault.severity == WARNING for fault in self.faults)

    def kinds(self) -> Counter[tuple[str, str]]:
        """Number of faults by (severity, kind), errors first."""
        return Counter(dict(sorted(Counter((fault.severity, fault.kind) for fault in self.faults).items())))

    def set_categories(self, categories: Iterable[Category]) -> None:
        """Begin a row for each category; a name that two of them share is a warning."""
        names: dict[str, int] = {}
        for category in categories:
            self.categories[category.id] = CategoryRow(category.id, category.name, category.isthing)
            if category.name in names:
                self._warn_category(
                    "category name twice", category.id, f"has the name {category.name!r} of {names[category.name]}."
                )
            names.setdefault(category.name, category.id)

    def count(self, category_id: int, owner: object, pixels: float) -> None:
        """Add an object (or segment) of ``pixels`` in an image or video."""
        row = self.categories.setdefault(category_id, CategoryRow(category_id, f"category {category_id}", True))
        row.objects += 1
        row.owners.add(str(owner))
        row.pixels += int(pixels)

    def warn_unannotated(self) -> None:
        """Warn that there is nothing to train on or to score."""
        self.log.warn("no annotations", f"{self.source}: has no annotations, as the files of test sets; little can be checked.")

    def warn_unused(self) -> None:
        """Warn, in one line, of categories without any object."""
        unused = [row for row in self.categories.values() if not row.objects]
        if unused:
            names = ", ".join(f"{row.id} {row.name}" for row in unused[:8]) + (", …" if len(unused) > 8 else "")
            what = f"{len(unused)} of {len(self.categories)} categories have no object: {names}."
            self.log.warn("category without objects", f"{self.source}: {what}", "categories")

    def _warn_category(self, kind: str, identity: int, what: str) -> None:
        self.log.warn(kind, f"{self.source}: category {identity} {what}", "categories", identity)

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON knows it; every fault is listed."""
        return {
            "source": self.source,
            "format": self.format,
            "errors": self.errors,
            "warnings": self.warnings,
            "counts": self.counts,
            "sizes": dict(self.sizes),
            "lengths": dict(sorted(Counter(map(str, self.lengths)).items(), key=lambda item: int(item[0]))),
            "faults_by_kind": [{"severity": s, "kind": k, "count": n} for (s, k), n in self.kinds().items()],
            "categories": [{**vars(row), "owners": len(row.owners)} for row in self.categories.values()],
            "faults": [vars(fault) for fault in self.faults],
        }
