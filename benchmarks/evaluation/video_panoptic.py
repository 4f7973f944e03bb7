"""VPQ (windows 1, 2, 4, 6) and STQ of one video of VIPSeg's size, beside the formulas as loops over pairs of segments.

Both start from arrays in memory: reading the PNG files costs either the same.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.case import Case
from dense.data.formats.category_table import Category
from dense.data.formats.coco_panoptic import SegmentInfo
from dense.evaluation.segment_overlaps import SegmentOverlaps
from dense.evaluation.video_panoptic import WINDOWS, FramePair, VideoPanopticCounter

__all__ = ["cases", "counted", "matches_by_loops", "tracking_by_loops"]

Maps = NDArray[np.int32]  # (T, H, W) segment ids
Lists = Sequence[Sequence[SegmentInfo]]  # the segments of each frame
_FRAMES, _HEIGHT, _WIDTH, _SEGMENTS = 6, 720, 1280, 18


def cases() -> list[Case]:
    """One case: T frames of 720 x 1280."""
    categories = [Category(k, f"c{k}", isthing=k < 6) for k in range(12)]
    annotated, wanted = _video(0)
    predicted, found = _video(3)  # the same picture, moved by a few pixels
    arguments = (annotated, wanted, predicted, found)

    def ours() -> object:
        counter = VideoPanopticCounter(categories, WINDOWS)
        counter.add_video("video", counted(*arguments))
        figures = counter.figures()
        matches = [(k, c, vars(count)) for k in WINDOWS for c, count in sorted(counter.counts(k).counts.items())]
        return matches, {name: figures[name] for name in ("STQ", "SQ", "AQ")}

    def loops() -> object:
        tables = {k: matches_by_loops(*arguments, k) for k in WINDOWS}
        matches = [(k, c, count) for k in WINDOWS for c, count in sorted(tables[k].items())]
        return matches, tracking_by_loops([arguments], {c.id for c in categories if c.isthing})

    name = f"VPQ and STQ T={_FRAMES} {_HEIGHT}x{_WIDTH} {_SEGMENTS} segments"
    return [Case(name, ours, {"loops over segments": loops}, _agree, annotated.nbytes + predicted.nbytes, 0, faster=20.0)]


def _agree(ours: object, theirs: object) -> None:
    (matches, quality), (other_matches, other_quality) = ours, theirs
    assert len(matches) == len(other_matches), "other categories"
    for (k, c, count), (k2, c2, other) in zip(matches, other_matches, strict=True):
        assert (k, c) == (k2, c2), "other categories"
        assert all(math.isclose(count[name], other[name], abs_tol=1e-9) for name in count), f"window {k}, category {c}"
    assert all(math.isclose(quality[name], other_quality[name], rel_tol=1e-9) for name in quality), "STQ"


def _video(shift: int) -> tuple[Maps, Lists]:
    """Segments whose nearest of a few moving centres a pixel is; a border of void."""
    rng = np.random.default_rng(0)
    centres = rng.uniform(0, 1, (_SEGMENTS, 2)) * (_HEIGHT, _WIDTH)
    speed = rng.uniform(-8, 8, (_SEGMENTS, 2))
    y, x = np.mgrid[:_HEIGHT, :_WIDTH].astype(np.float32)
    maps = np.empty((_FRAMES, _HEIGHT, _WIDTH), np.int32)
    for t in range(_FRAMES):
        places = (centres + speed * t + shift).astype(np.float32)
        distance = np.stack([(y - a) ** 2 + (x - b) ** 2 for a, b in places])
        maps[t] = distance.argmin(0) * 4001 + 70_000
        maps[t, :20] = 0
    infos = [[SegmentInfo(i, (i - 70_000) // 4001 % 12, False) for i in np.unique(m).tolist() if i] for m in maps]
    return maps, infos


def counted(annotated: Maps, wanted: Lists, predicted: Maps, found: Lists) -> Iterator[FramePair]:
    """The frames of a video in memory, as ``VideoPanopticCounter.add_video`` takes them."""
    overlaps = SegmentOverlaps()
    for first, infos, second, guesses in zip(annotated, wanted, predicted, found, strict=True):
        one, other = {s.id: s for s in infos}, {s.id: s for s in guesses}
        yield FramePair(overlaps.count(first, list(one), second, list(other)), one, other)


def matches_by_loops(annotated: Maps, wanted: Lists, predicted: Maps, found: Lists, k: int) -> dict[int, dict[str, float]]:
    """Matches of every window of k frames by category: masks of every two tubes of one category are laid over each other."""
    counts: dict[int, dict[str, float]] = defaultdict(lambda: {"iou": 0.0, "matched": 0, "false_alarms": 0, "missed": 0})
    for start in range(len(annotated) - k + 1):
        part = slice(start, start + k)
        g_map, p_map = annotated[part], predicted[part]
        tubes, guesses = _first(wanted[part]), _first(found[part])
        hits = set()
        for g, p in itertools.product(tubes, guesses):
            if g.iscrowd or g.category_id != p.category_id:
                continue
            mask, other = g_map == g.id, p_map == p.id
            iou = np.count_nonzero(mask & other) / np.count_nonzero(mask | (other & (g_map != 0)))
            if iou > 0.5:
                counts[g.category_id]["iou"] += iou
                counts[g.category_id]["matched"] += 1
                hits |= {("wanted", g.id), ("found", p.id)}
        for g in tubes:
            if not g.iscrowd and ("wanted", g.id) not in hits:
                counts[g.category_id]["missed"] += 1
        for p in guesses:
            if ("found", p.id) not in hits and not _excused(p, p_map == p.id, g_map, tubes):
                counts[p.category_id]["false_alarms"] += 1
    return counts


def _excused(guess: SegmentInfo, mask: NDArray[np.bool_], g_map: Maps, tubes: Iterable[SegmentInfo]) -> bool:
    """Whether more than half of a prediction lies in void or in crowds of its category."""
    excuse = g_map == 0
    for g in tubes:
        if g.iscrowd and g.category_id == guess.category_id:
            excuse |= g_map == g.id
    return 2 * np.count_nonzero(mask & excuse) > np.count_nonzero(mask)


def _first(lists: Lists) -> list[SegmentInfo]:
    seen: dict[int, SegmentInfo] = {}
    for segment in (segment for infos in lists for segment in infos):
        seen.setdefault(segment.id, segment)
    return list(seen.values())


def tracking_by_loops(
    videos: Iterable[tuple[Maps, Lists, Maps, Lists]], things: set[int], published: bool = True
) -> dict[str, float]:
    """STQ, SQ, AQ in percent: masks of every two tubes are laid over each other, and those of every class."""
    scores: list[float] = []
    annotated_classes, predicted_classes = [], []
    for annotated, wanted, predicted, found in videos:
        g_class, p_class = _classes(annotated, wanted), _classes(predicted, found)
        annotated_classes.append(g_class.ravel())
        predicted_classes.append(p_class.ravel())
        crowds = {_first(wanted)[0].id} if published and _first(wanted) else set()
        if not published:
            crowds = {s.id for infos in wanted for s in infos if s.iscrowd}
        is_thing, is_guess = np.isin(g_class, list(things)), np.isin(p_class, list(things))
        counts = ~(np.isin(annotated, list(crowds)) & is_thing)
        for g in np.unique(annotated[is_thing & counts]):
            mask = (annotated == g) & is_thing & counts
            score = 0.0
            for p in np.unique(predicted[is_guess & counts]):
                other = (predicted == p) & is_guess & counts
                common = np.count_nonzero(mask & other)
                score += common * common / np.count_nonzero(mask | other)
            scores.append(score / np.count_nonzero(mask))
    g, p = np.concatenate(annotated_classes), np.concatenate(predicted_classes)
    labelled, names = g >= 0, {*g.tolist(), *p.tolist()} - {-1}
    iou = []
    for c in [*names, *([-1] if published else [])]:
        union = np.count_nonzero(((g == c) | (p == c)) & labelled)
        iou += [np.count_nonzero((g == c) & (p == c) & labelled) / union] if union else []
    segmentation, association = (100 * sum(v) / len(v) if v else math.nan for v in (iou, scores))
    return {"STQ": math.sqrt(segmentation * association), "SQ": segmentation, "AQ": association}


def _classes(maps: Maps, lists: Lists) -> NDArray[np.int64]:
    """Category of each pixel, -1 for none."""
    classes = np.full(maps.shape, -1)
    for t, infos in enumerate(lists):
        for segment in infos:
            classes[t][maps[t] == segment.id] = segment.category_id
    return classes
