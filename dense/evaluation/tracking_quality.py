"""Segmentation and tracking quality (Weber et al., STEP, §4): STQ = √(SQ · AQ), from the overlaps of segments frame by frame.

SQ is the mean IoU of the classes. AQ asks, for each annotated object through a video (its tube), how much of it lies under how
few predicted tubes, whatever their class. The published code has two habits that shift the figures; they are on by default, so
that figures compare with published ones:

* The annotated segment that a video lists first is taken for a crowd if it is a thing, and ``iscrowd`` does not count. (Objects
  are numbered from 0 in the order in which they are listed, and number 0 means crowd.)
* Labelled pixels without prediction count as one more class, of IoU 0.
"""

import math
from collections import Counter
from collections.abc import Mapping

from dense.data.formats.coco_panoptic import SegmentInfo
from dense.evaluation.segment_overlaps import Overlaps

__all__ = ["TrackingQuality"]

_Class = int | None  # category id; None for void, or nothing predicted
_Tube = tuple[int, int]  # category id, segment id


class TrackingQuality:
    """Counts one video, frame by frame; ``merge`` adds videos up.

    Args:
        things: ids of the categories that have instances.
        published: with the two habits of the published code. Without: crowds are those of the file, and pixels without
            prediction only lower the IoU of their class.
    """

    def __init__(self, things: frozenset[int], published: bool = True) -> None:
        self.things, self.published = things, published
        self.tube_scores: list[float] = []
        self._confusion: Counter[tuple[_Class, _Class]] = Counter()
        self._numbers: dict[int, int] = {}
        self._wanted: Counter[_Tube] = Counter()
        self._found: Counter[_Tube] = Counter()
        self._common: dict[_Tube, Counter[_Tube]] = {}

    def add_frame(self, overlaps: Overlaps, wanted: Mapping[int, SegmentInfo], found: Mapping[int, SegmentInfo]) -> None:
        """Count one frame: pixels of each (annotated id, predicted id), segments by id in the file's order."""
        for g in wanted:
            self._numbers.setdefault(g, len(self._numbers))
        for (g, p), pixels in overlaps.items():
            segment, guess = wanted.get(g), found.get(p)  # None for 0
            classes = (segment.category_id if segment else None, guess.category_id if guess else None)
            self._confusion[classes] += pixels
            tube = (segment.category_id, g) if segment and segment.category_id in self.things else None
            if tube and segment and (self._numbers[g] == 0 if self.published else segment.iscrowd):
                continue  # a crowd: its pixels count on neither side
            if tube:
                self._wanted[tube] += pixels
            if guess and guess.category_id in self.things:
                self._found[guess.category_id, p] += pixels
                if tube:
                    self._common.setdefault(tube, Counter())[guess.category_id, p] += pixels

    def end_video(self) -> None:
        """Score the tubes of the video; the next ``add_frame`` begins another."""
        for tube, area in self._wanted.items():
            shared = self._common.get(tube, Counter())
            total = sum(common * common / (area + self._found[guess] - common) for guess, common in shared.items())
            self.tube_scores.append(total / area)
        for counts in (self._numbers, self._wanted, self._found, self._common):
            counts.clear()

    def merge(self, other: "TrackingQuality") -> None:
        """Add what ``other`` has counted in the videos that it has ended."""
        self._confusion.update(other._confusion)
        self.tube_scores += other.tube_scores

    def figures(self) -> dict[str, float]:
        """Percent: ``STQ``, ``SQ``, ``AQ``; NaN where nothing is annotated (AQ, STQ: no object)."""
        segmentation = 100 * self._mean_iou()
        undefined = float("nan")
        association = 100 * math.fsum(self.tube_scores) / len(self.tube_scores) if self.tube_scores else undefined
        return {"STQ": math.sqrt(segmentation * association), "SQ": segmentation, "AQ": association}

    def _mean_iou(self) -> float:
        counted = {pair: pixels for pair, pixels in self._confusion.items() if pair[0] is not None}
        union: Counter[_Class] = Counter()
        for (annotated, predicted), pixels in counted.items():
            union[annotated] += pixels
            if predicted != annotated and (predicted is not None or self.published):
                union[predicted] += pixels
        iou = [counted.get((name, name), 0) / pixels for name, pixels in union.items()]
        return math.fsum(iou) / len(iou) if iou else float("nan")
