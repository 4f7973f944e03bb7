"""Panoptic quality (Kirillov et al., Panoptic Segmentation, §4): PQ = SQ · RQ, from COCO panoptic files.

A predicted and an annotated segment of one category match if their IoU exceeds 0.5; at most one can. Void pixels (id 0 of the
ground truth) leave the union. An unmatched prediction is no false alarm if more than half of it lies in void or in crowd
regions of its category; crowd regions need not be found and are never matched.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dense.data.formats.category_table import Category
from dense.data.formats.coco_panoptic import VOID_ID, PanopticDataset, SegmentInfo, read_panoptic, read_segments
from dense.data.formats.image_results import read_panoptic_results
from dense.errors import DataError
from dense.evaluation.segment_overlaps import Overlaps, SegmentOverlaps, segment_areas

__all__ = ["CategoryCount", "PanopticCounter", "evaluate_panoptic", "panoptic_figures"]

PathLike = str | os.PathLike[str]


@dataclass
class CategoryCount:
    """What was found of one category: sum of IoUs of the matches, matches, false alarms, misses."""

    iou: float = 0.0
    matched: int = 0
    false_alarms: int = 0
    missed: int = 0


@dataclass
class PanopticCounter:
    """Counts matches image by image; ``counts`` by category id."""

    counts: dict[int, CategoryCount] = field(default_factory=lambda: defaultdict(CategoryCount))
    _overlaps: SegmentOverlaps = field(default_factory=SegmentOverlaps, repr=False)

    def add(
        self,
        annotated: NDArray[np.int32],
        annotated_segments: Iterable[SegmentInfo],
        predicted: NDArray[np.int32],
        predicted_segments: Iterable[SegmentInfo],
    ) -> None:
        """Compare one image.

        Args:
            annotated: ``(H, W)`` segment ids, 0 = void.
            annotated_segments: all segments of ``annotated``.
            predicted: ``(H, W)`` segment ids, 0 = nothing predicted.
            predicted_segments: all segments of ``predicted``.

        Raises: DataError if the sizes differ, or a map and its list have not the same ids.
        """
        wanted = {segment.id: segment for segment in annotated_segments}
        found = {segment.id: segment for segment in predicted_segments}
        self.add_overlaps(self._overlaps.count(annotated, list(wanted), predicted, list(found)), wanted, found)

    def add_overlaps(self, overlaps: Overlaps, wanted: Mapping[int, SegmentInfo], found: Mapping[int, SegmentInfo]) -> None:
        """Compare the segments of one image, or the tubes of a few frames.

        Args:
            overlaps: pixels of each pair that occurs.
            wanted: annotated segments by id.
            found: predicted segments by id.
        """
        area_wanted, area_found = segment_areas(overlaps, 0), segment_areas(overlaps, 1)
        hit_wanted, hit_found = set(), set()
        for (g, p), common in overlaps.items():
            if g == VOID_ID or p == VOID_ID or wanted[g].iscrowd or wanted[g].category_id != found[p].category_id:
                continue
            union = area_wanted[g] + area_found[p] - common - overlaps.get((VOID_ID, p), 0)
            if common / union > 0.5:
                count = self.counts[wanted[g].category_id]
                count.matched += 1
                count.iou += common / union
                hit_wanted.add(g)
                hit_found.add(p)
        for g, segment in wanted.items():
            if g not in hit_wanted and not segment.iscrowd:
                self.counts[segment.category_id].missed += 1
        crowds = [segment for segment in wanted.values() if segment.iscrowd]
        for p, segment in found.items():
            if p in hit_found:
                continue
            excused = overlaps.get((VOID_ID, p), 0)
            excused += sum(overlaps.get((c.id, p), 0) for c in crowds if c.category_id == segment.category_id)
            if excused / area_found[p] <= 0.5:
                self.counts[segment.category_id].false_alarms += 1

    def merge(self, other: "PanopticCounter") -> None:
        """Add what ``other`` has counted."""
        for category_id, count in other.counts.items():
            mine = self.counts[category_id]
            mine.iou += count.iou
            mine.matched += count.matched
            mine.false_alarms += count.false_alarms
            mine.missed += count.missed


def evaluate_panoptic(
    ground_truth_json: PathLike | PanopticDataset,
    ground_truth_dir: PathLike | None,
    predictions_json: PathLike,
    predictions_dir: PathLike | None = None,
) -> dict[str, Any]:
    """Score panoptic results.

    Args:
        ground_truth_json: path of a COCO panoptic file, or a ``PanopticDataset`` (then ``ground_truth_dir`` does not count).
        ground_truth_dir: folder of its PNG files; ``None`` = the file's name without ``.json``.
        predictions_json: result file: an object with ``annotations`` as in the ground truth, one per image.
        predictions_dir: folder of its PNG files; ``None`` as above.

    Returns: percent: ``PQ``, ``SQ``, ``RQ`` over all categories that occur in either, the same with ``_th`` for things and
    ``_st`` for stuff (NaN without any), and ``per_category`` {name: {"PQ", "SQ", "RQ"}} of those that occur.
    Raises: DataError, one line with file and id: see ``read_panoptic``; PNG and JSON that disagree; an image without a result.
    """
    if isinstance(ground_truth_json, PanopticDataset):
        dataset = ground_truth_json
    else:
        dataset = read_panoptic(ground_truth_json, ground_truth_dir)
    results = read_panoptic_results(predictions_json, dataset)
    root = Path(predictions_json).with_suffix("") if predictions_dir is None else Path(predictions_dir)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder, expected the PNG files of {predictions_json}.")
    counter = PanopticCounter()
    for image in dataset.images:
        result = results[image.id]
        predicted = read_segments(root / result.png_name, (image.height, image.width), result.segments)
        counter.add(dataset.ids(image), image.segments, predicted, result.segments)
    return panoptic_figures(counter.counts, dataset.categories)


def panoptic_figures(counts: dict[int, CategoryCount], categories: Iterable[Category]) -> dict[str, Any]:
    """The figures of ``evaluate_panoptic`` from the counts of each category id."""
    categories = list(categories)
    rows = {c.id: _quality(counts[c.id]) for c in categories if c.id in counts and _occurs(counts[c.id])}
    figures: dict[str, Any] = {}
    groups = {"": categories, "_th": [c for c in categories if c.isthing], "_st": [c for c in categories if not c.isthing]}
    for suffix, members in groups.items():
        chosen = [rows[c.id] for c in members if c.id in rows]
        for name in ("PQ", "SQ", "RQ"):
            figures[f"{name}{suffix}"] = float(np.mean([row[name] for row in chosen])) if chosen else float("nan")
    names = [c.name for c in categories]
    distinct = {c.id: c.name if names.count(c.name) == 1 else f"{c.name} (id {c.id})" for c in categories}
    figures["per_category"] = {distinct[category_id]: row for category_id, row in rows.items()}
    return figures


def _occurs(count: CategoryCount) -> bool:
    return count.matched + count.false_alarms + count.missed > 0


def _quality(count: CategoryCount) -> dict[str, float]:
    weight = count.matched + 0.5 * count.false_alarms + 0.5 * count.missed
    quality = count.iou / count.matched if count.matched else 0.0
    return {"PQ": 100 * count.iou / weight, "SQ": 100 * quality, "RQ": 100 * count.matched / weight}
