"""AP of LVIS by brute force: one loop per rule, boxes only."""

import numpy as np

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)


def box_iou(a, b):
    """IoU of two boxes x, y, width, height."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (a[2] * a[3] + b[2] * b[3] - width * height)


def image_outcomes(boxes, found, threshold, exhaustive):
    """(score, right) of the detections of one image that count."""
    free, outcomes = [True] * len(boxes), []
    for detection in sorted(found, key=lambda d: -d["score"]):
        best, place = threshold, None
        for k, box in enumerate(boxes):
            if free[k] and box_iou(detection["bbox"], box) >= best:
                best, place = box_iou(detection["bbox"], box), k
        if place is not None:
            free[place] = False
        if place is not None or exhaustive:
            outcomes.append((detection["score"], place is not None))
    return outcomes


def precision_at_recalls(outcomes, objects):
    """Best precision at each recall or a higher one, ``(R,)``."""
    right = wrong = 0
    curve = []
    for _, is_right in sorted(outcomes, key=lambda o: -o[0]):
        right, wrong = right + is_right, wrong + (not is_right)
        curve.append((right / objects, right / (right + wrong)))
    return [max((precision for reached, precision in curve if reached >= recall), default=0.0) for recall in RECALLS]


def category_precision(data, detections, category):
    """``(T, R)`` precision of one category, or None without objects; what was not looked for does not count."""
    objects = [a for a in data["annotations"] if a["category_id"] == category]
    if not objects:
        return None
    rows = []
    for threshold in THRESHOLDS:
        outcomes = []
        for image in data["images"]:
            boxes = [a["bbox"] for a in objects if a["image_id"] == image["id"]]
            if boxes or category in image["neg_category_ids"]:
                found = [d for d in detections if d["image_id"] == image["id"] and d["category_id"] == category]
                exhaustive = category not in image["not_exhaustive_category_ids"]
                outcomes += image_outcomes(boxes, found, threshold, exhaustive)
        rows.append(precision_at_recalls(outcomes, len(objects)))
    return np.array(rows)


def average_precision(data, detections, categories):
    """Mean over the categories with objects, percent; and the same at IoU 0.5."""
    tables = [category_precision(data, detections, category) for category in categories]
    known = [table for table in tables if table is not None]
    if not known:
        return float("nan"), float("nan")
    return 100 * np.mean(known), 100 * np.mean([table[0] for table in known])


def best_of_categories(detections, number):
    """The best ``number`` detections of each category, whatever image they are in."""
    kept = []
    for category in {d["category_id"] for d in detections}:
        kept += sorted((d for d in detections if d["category_id"] == category), key=lambda d: -d["score"])[:number]
    return kept
