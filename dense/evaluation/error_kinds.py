"""Kinds of errors of video instance segmentation, and the records that the analysis returns; ``error_sorting`` defines them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["ERROR_KINDS", "ErrorFigures", "Stay", "TrackHistory", "VideoError", "VideoErrorReport"]

ERROR_KINDS: Mapping[str, str] = {
    "duplicate": "a second track on an object that another track has found",
    "classification": "the track fits an object, but of another category",
    "identity switch": "the track follows two or more objects in turn",
    "fragment": "an object is covered by several tracks one after the other",
    "late start / early end": "good masks where the track exists, but it misses too many of the object's frames",
    "mask": "on an object of its category, but the masks overlap too little",
    "false alarm": "neither a mask of its category nor a mask of any object",
    "missed": "an object that no track comes near",
}
"""Name and meaning of each kind, in order of precedence: what fits two kinds counts as the first."""


@dataclass(frozen=True)
class Stay:
    """Frames in a row in which a track follows one object.

    Attributes:
        object_id: annotation id.
        first: first frame, from 0.
        last: last frame, inclusive.
    """

    object_id: int
    first: int
    last: int


@dataclass(frozen=True)
class TrackHistory:
    """What one scored prediction follows over time.

    Attributes:
        prediction: position in the result file, from 0.
        video_id: its video.
        object_id: annotation id of the object it is matched with at the threshold; ``None`` if it is wrong or ignored.
        iou: tube IoU with that object, else the highest with an object of its own category; in [0, 1].
        ignored: on a crowd, neither right nor wrong.
        follows: annotation id of the object it lies on in each of the T frames (mask IoU of at least 0.5, any category), or
            ``None``.
        stays: the same in runs of at least two followed frames; each but the first begins with an identity switch.
    """

    prediction: int
    video_id: int
    object_id: int | None
    iou: float
    ignored: bool
    follows: tuple[int | None, ...]
    stays: tuple[Stay, ...]

    @property
    def switches(self) -> tuple[int, ...]:
        """Frames in which it changes to another object."""
        return tuple(stay.first for stay in self.stays[1:])


@dataclass(frozen=True)
class VideoError:
    """One error and what shows it.

    Attributes:
        kind: one of ``ERROR_KINDS``.
        video_id: its video.
        predictions: positions in the result file: the wrong prediction, then others involved; empty for missed objects.
        object_ids: annotation ids: the object concerned, then others involved; empty where there is none.
        frames: all frames that show it, in order, from 0.
        shown: at most four of them (or their neighbours) that tell it best, in order.
        score: of the wrong prediction; ``None`` for missed objects.
        iou: its tube IoU with the object concerned, in [0, 1]; ``None`` without one.
        detail: one sentence.
    """

    kind: str
    video_id: int
    predictions: tuple[int, ...]
    object_ids: tuple[int, ...]
    frames: tuple[int, ...]
    shown: tuple[int, ...]
    score: float | None
    iou: float | None
    detail: str


@dataclass(frozen=True)
class ErrorFigures:
    """One kind: how many errors, and how many points of AP (percent) mending them all would bring."""

    count: int
    lost_ap: float


@dataclass(frozen=True)
class VideoErrorReport:
    """Result of ``analyse_video_errors``.

    Attributes:
        iou: threshold from which a tube counts as found.
        background: tube IoU below which a prediction has nothing to do with an object.
        ap: average precision at ``iou`` in percent, as the evaluator gives it; NaN without any object to find.
        kinds: figures of each of ``ERROR_KINDS``, in that order.
        errors: every error, by video, then by falling score.
        tracks: every scored prediction, likewise.
    """

    iou: float
    background: float
    ap: float
    kinds: dict[str, ErrorFigures]
    errors: tuple[VideoError, ...]
    tracks: tuple[TrackHistory, ...]

    @property
    def name(self) -> str:
        """Name of the figure that is split, for instance ``"AP50"``."""
        return f"AP{100 * self.iou:g}"

    def plain(self) -> dict[str, Any]:
        """Everything but ``tracks`` in a form for JSON."""
        return {
            "iou": self.iou,
            "background_iou": self.background,
            self.name: self.ap,
            "kinds": {kind: vars(figures) for kind, figures in self.kinds.items()},
            "errors": [vars(error) for error in self.errors],
        }
