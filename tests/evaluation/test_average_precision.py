"""COCO's protocol, against pycocotools and against loops that follow its description word by word."""

import contextlib
import io

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from dense.evaluation.average_precision import Protocol, match_scene, precision_recall

PROTOCOL = Protocol(limits=(1, 3, 5), area_ranges=((0, 1e10), (0, 5), (5, 12), (12, 1e10)))


def random_scene(rng, crowds):
    """Scores (rounded: many ties), areas, IoU on a coarse grid (ties, values on thresholds), object areas, crowd flags."""
    d, g = rng.integers(0, 7), rng.integers(0, 4)
    scores = -np.sort(-np.round(rng.random(d), 1))
    iou = rng.choice([0.0, 0.3, 0.5, 0.55, 0.75, 0.9, 1.0], (d, g))
    crowd = rng.random(g) < 0.3 if crowds else np.zeros(g, bool)
    return scores, rng.integers(1, 20, d).astype(float), iou, rng.integers(1, 20, g).astype(float), crowd


def match_by_loops(scores, areas, iou, object_areas, crowd, low, high, threshold):
    """Matching of one scene as described: (matched, ignored) per detection and the number of objects to find."""
    ignorable = [bool(c) or not low <= a <= high for c, a in zip(crowd, object_areas, strict=True)]
    order = sorted(range(len(crowd)), key=lambda g: ignorable[g])
    taken, matched, ignored = set(), [], []
    for d in range(len(scores)):
        best, best_iou = None, min(threshold, 1 - 1e-10)
        for g in order:
            if g in taken and not crowd[g]:
                continue
            if best is not None and not ignorable[best] and ignorable[g]:
                break
            if iou[d, g] >= best_iou:
                best, best_iou = g, iou[d, g]
        if best is not None:
            taken.add(best)
        matched.append(best is not None)
        ignored.append(ignorable[best] if best is not None else not low <= areas[d] <= high)
    return matched, ignored, ignorable.count(False)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_match_scene__random_scenes_with_crowds__equal_to_loops(seed):
    """Catches wrong priorities between free, taken, crowd and out-of-range objects, and wrong ties."""
    scene = random_scene(np.random.default_rng(seed), crowds=True)
    got = match_scene(*scene, PROTOCOL)
    for a, (low, high) in enumerate(PROTOCOL.area_ranges):
        for t, threshold in enumerate(PROTOCOL.iou_thresholds):
            matched, ignored, count = match_by_loops(*scene, low, high, threshold)
            assert got.matched[a, t].tolist() == matched
            assert got.ignored[a, t].tolist() == ignored
            assert got.num_objects[a] == count


def coco_tables(scenes):
    """Precision and recall by pycocotools, one image per scene, with our IoU put in the place of its own."""
    images = [{"id": i + 1} for i in range(len(scenes))]
    objects, found, ious = [], [], {}
    for i, (scores, areas, iou, object_areas, crowd) in enumerate(scenes, start=1):
        for area, flag in zip(object_areas, crowd, strict=True):
            objects.append(
                {
                    "id": len(objects) + 1,
                    "image_id": i,
                    "category_id": 1,
                    "iscrowd": int(flag),
                    "area": area,
                    "bbox": [0, 0, 1, 1],
                }
            )
        for score, area in zip(scores, areas, strict=True):
            found.append(
                {
                    "id": len(found) + 1,
                    "image_id": i,
                    "category_id": 1,
                    "score": score,
                    "area": area,
                    "bbox": [0, 0, 1, 1],
                    "iscrowd": 0,
                }
            )
        ious[i, 1] = iou[: PROTOCOL.limits[-1]] if iou.size else []
    sides = []
    for annotations in (objects, found):
        side = COCO()
        side.dataset = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "x"}]}
        side.createIndex()
        sides.append(side)
    judge = COCOeval(*sides, "bbox")
    judge.params.maxDets, judge.params.areaRng = list(PROTOCOL.limits), [list(r) for r in PROTOCOL.area_ranges]
    judge.computeIoU = lambda image, category: ious[image, category]
    judge.evaluate()
    judge.accumulate()
    return judge.eval["precision"][:, :, 0], judge.eval["recall"][:, 0]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_precision_recall__random_scenes__equal_to_pycocotools(seed, count):
    """Catches any difference from the COCO library: order of equal scores, recall points, detection limits, area ranges."""
    rng = np.random.default_rng(seed)
    scenes = [random_scene(rng, crowds=True) for _ in range(count)]
    with contextlib.redirect_stdout(io.StringIO()):
        precision, recall = coco_tables(scenes)
    limit = PROTOCOL.limits[-1]
    matches = [match_scene(s[:limit], a[:limit], i[:limit], o, c, PROTOCOL) for s, a, i, o, c in scenes]
    got_precision, got_recall = precision_recall(matches, PROTOCOL)
    np.testing.assert_allclose(np.nan_to_num(got_precision, nan=-1), precision, atol=1e-12)
    np.testing.assert_allclose(np.nan_to_num(got_recall, nan=-1), recall, atol=1e-12)


def test_precision_recall__no_scene__undefined():
    """Catches a 0 or -1 shown where nothing was to be found."""
    precision, recall = precision_recall([], PROTOCOL)
    assert np.isnan(precision).all()
    assert np.isnan(recall).all()
