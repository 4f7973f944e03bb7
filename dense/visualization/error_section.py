"""The report's section on errors: what each kind costs, and examples with the frames that show them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dense.visualization.charts import defined
from dense.visualization.media import Picture, picture_address

__all__ = ["ErrorExample", "ErrorKind", "ErrorSection", "error_view"]


@dataclass(frozen=True)
class ErrorExample:
    """One error.

    Attributes:
        title: where it is, for instance the video's name and the track.
        text: what is wrong.
        pictures: frames that show it: caption and picture.
        video: position in ``Report.videos`` of the video's timeline, ``None`` if it is not on the page.
    """

    title: str
    text: str
    pictures: Sequence[tuple[str, Picture]]
    video: int | None = None


@dataclass(frozen=True)
class ErrorKind:
    """One kind of error.

    Attributes:
        name: heading.
        meaning: one sentence, for readers who meet the word for the first time.
        lost_ap: points of AP (percent) that mending would bring; ``None`` or not-a-number where undefined.
        count: how many errors.
        examples: the worst first.
    """

    name: str
    meaning: str
    lost_ap: float | None
    count: int
    examples: Sequence[ErrorExample] = ()


@dataclass(frozen=True)
class ErrorSection:
    """The whole section.

    Attributes:
        figure: name of the figure that is split, for instance ``"AP50"``.
        kinds: in the order shown.
        legend: how to read the pictures.
    """

    figure: str
    kinds: Sequence[ErrorKind]
    legend: str = ""


def error_view(section: ErrorSection) -> dict[str, Any]:
    """What the template shows; bars are scaled to the costliest kind.

    Raises: DataError if a picture cannot be read.
    """
    lost = [defined(kind.lost_ap) for kind in section.kinds]
    most = max([1e-9, *(value for value in lost if value is not None)])
    kinds = [
        {
            "anchor": f"error-{number + 1}",
            "kind": kind,
            "lost": value,
            "width": round(100 * (value or 0.0) / most, 2),
            "examples": [_example_view(example) for example in kind.examples],
        }
        for number, (kind, value) in enumerate(zip(section.kinds, lost, strict=True))
    ]
    return {"section": section, "kinds": kinds}


def _example_view(example: ErrorExample) -> dict[str, Any]:
    return {
        "title": example.title,
        "text": example.text,
        "video": None if example.video is None else f"video-{example.video + 1}",
        "pictures": [(caption, picture_address(picture)) for caption, picture in example.pictures],
    }
