"""VOC's average precision against a plain re-telling of its rules, one detection at a time."""

import numpy as np
import pytest

from dense.data.formats.category_table import Category
from dense.data.formats.coco import ImageDataset, ImageObject, ImageRecord
from dense.data.formats.image_results import Detection
from dense.errors import DataError
from dense.evaluation.pascal_voc import evaluate_voc

CLASSES = (Category(1, "a"), Category(2, "b"), Category(3, "never"))


def overlap(one, other):
    """IoU in VOC's convention: pixels from x + 1 to x + width, ends included."""
    (x1, y1, w1, h1), (x2, y2, w2, h2) = one, other
    across = min(x1 + w1, x2 + w2) - max(x1 + 1, x2 + 1) + 1
    down = min(y1 + h1, y2 + h2) - max(y1 + 1, y2 + 1) + 1
    if across <= 0 or down <= 0:
        return 0.0
    return across * down / (w1 * h1 + w2 * h2 - across * down)


def plain_precision(dataset, detections, category, threshold, eleven):
    """AP of one class, as the development kit describes it."""
    truth = {i.id: [o for o in i.objects if o.category_id == category] for i in dataset.images}
    positives = sum(not o.difficult for objects in truth.values() for o in objects)
    if not positives:
        return None
    taken, right, wrong, curve = set(), 0, 0, []
    for d in sorted((d for d in detections if d.category_id == category), key=lambda d: -d.score):
        best, owner = -1.0, None
        for candidate in truth[d.image_id]:
            if overlap(d.box, candidate.box) > best:
                best, owner = overlap(d.box, candidate.box), candidate
        if owner is not None and best > threshold:
            if owner.difficult:
                continue
            if owner.id in taken:
                wrong += 1
            else:
                right += 1
                taken.add(owner.id)
        else:
            wrong += 1
        curve.append((right / positives, right / (right + wrong)))
    if eleven:
        points = [max((p for r, p in curve if r >= t), default=0.0) for t in np.arange(0, 1.1, 0.1)]
        return sum(points) / 11
    area, last = 0.0, 0.0
    for place, (recall, _) in enumerate(curve):
        area += (recall - last) * max(p for _, p in curve[place:])
        last = recall
    return area


def scene(seed):
    """Pictures with objects, a third of them difficult, and detections near and far from them."""
    rng = np.random.default_rng(seed)
    images, detections, count = [], [], 0
    for number in range(5):
        objects = []
        for _ in range(rng.integers(0, 5)):
            box = (*map(float, rng.integers(0, 60, 2)), *map(float, rng.integers(8, 30, 2)))
            category = int(rng.integers(1, 3))
            objects.append(ImageObject(count, category, False, box, box[2] * box[3], None, bool(rng.random() < 0.3)))
            count += 1
            for _ in range(rng.integers(0, 3)):
                near = (*(np.array(box[:2]) + rng.normal(0, 2, 2)), *(np.array(box[2:]) + rng.normal(0, 2, 2)))
                detections.append(Detection(number, category, float(rng.random()), tuple(map(float, near)), None))
        detections.append(Detection(number, int(rng.integers(1, 3)), float(rng.random()), (1.0, 2.0, 20.0, 20.0), None))
        images.append(ImageRecord(number, 100, 100, f"{number}.jpg", tuple(objects)))
    return ImageDataset("truth", tuple(images), CLASSES, True, None), detections


@pytest.mark.parametrize("eleven", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_evaluate_voc__random_scenes__as_told_plainly(seed, eleven):
    """Catches a second hit that counts, difficult objects that count, `>=` for `>`, recalls mixed over classes."""
    dataset, detections = scene(seed)
    figures = evaluate_voc(dataset, detections, eleven)
    thresholds = [percent / 100 for percent in range(50, 100, 5)]
    table = np.array([[plain_precision(dataset, detections, c, t, eleven) for t in thresholds] for c in (1, 2)], float)
    assert figures["AP"] == pytest.approx(100 * table.mean())
    assert figures["AP50"] == pytest.approx(100 * table[:, 0].mean())
    assert figures["AP75"] == pytest.approx(100 * table[:, 5].mean())
    assert figures["per_category"]["b"] == pytest.approx(100 * table[1, 0])
    assert np.isnan(figures["per_category"]["never"])
    assert 0 < figures["AP"] < 100


def test_evaluate_voc__perfect__100_and_none__0():
    """Catches a scale of 0 to 1, and an empty result that is not 0."""
    dataset, _ = scene(1)
    perfect = [Detection(i.id, o.category_id, 0.9, o.box, None) for i in dataset.images for o in i.objects]
    assert evaluate_voc(dataset, perfect)["AP"] == pytest.approx(100)
    assert evaluate_voc(dataset, [])["AP"] == 0


def test_evaluate_voc__detection_without_a_box__data_error():
    """Catches masks scored as boxes."""
    dataset, detections = scene(0)
    with pytest.raises(DataError, match="has no box"):
        evaluate_voc(dataset, [*detections, Detection(0, 1, 0.5, None, None)])
