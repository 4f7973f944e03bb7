"""Hard inputs of panoptic and video scores, each with its derived value or its error."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dense.data.formats.coco_panoptic import read_panoptic
from dense.data.formats.label_videos import class_labels
from dense.errors import DataError
from dense.evaluation import evaluate_panoptic, evaluate_video_panoptic, evaluate_video_semantic

CASES = Path(__file__).parents[1] / "data" / "cases"
EXPECTED = {
    name: case
    for file in ("images_expected.json", "video_scores_expected.json")
    for name, case in json.loads((CASES / file).read_text(encoding="utf-8")).items()
    if name.split("-")[0] in ("vpq", "stq", "vss", "pq", "vspw", "pan")
}


def _panoptic(folder):
    return evaluate_panoptic(folder / "gt.json", folder / "gt", folder / "pred.json", folder / "pred")


def _video_panoptic(folder):
    return evaluate_video_panoptic(folder / "gt.json", folder / "gt", folder / "pan_pred.json", folder / "pan_pred")


def _video_semantic(folder):
    figures = evaluate_video_semantic(folder / "gt", folder / "pred", 124, category_names=[str(k) for k in range(124)])
    return {**figures, "IoU": figures["per_category"]}


def _mask(folder):
    values = np.asarray(Image.open(folder / "mask.png"))
    labels = class_labels(values, 124, "mask.png")
    return {"labels": {str(v): int(labels[values == v][0]) for v in np.unique(values)}}


def _reader(folder):
    dataset = read_panoptic(folder / "gt.json", folder / "gt")
    values, counts = np.unique(dataset.ids(dataset.images[0]), return_counts=True)
    return {"pixels": {str(v): int(n) for v, n in zip(values, counts, strict=True)}}


RUN = {"pq": _panoptic, "vpq": _video_panoptic, "stq": _video_panoptic, "vss": _video_semantic, "vspw": _mask, "pan": _reader}


def _agrees(found, fact, tolerance):
    if isinstance(fact, dict):
        return all(_agrees(found[name], value, tolerance) for name, value in fact.items())
    if fact == "undefined":
        return math.isnan(found)
    return abs(found - fact) <= tolerance


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_score__hard_case__value_or_error_as_derived(name):
    """Catches each fault that the case is named after."""
    expect = EXPECTED[name]["expect"]
    run = RUN[name.split("-")[0]]
    if expect["kind"] == "error":
        with pytest.raises(DataError) as caught:
            run(CASES / name)
        assert all(word in str(caught.value) for word in expect["must_name"])
        return
    facts, found = dict(expect["facts"]), run(CASES / name)
    tolerance = facts.pop("tol", 0)
    wrong = {fact: found[fact] for fact, value in facts.items() if not _agrees(found[fact], value, tolerance)}
    assert not wrong, f"expected {facts}"


def test_cases__shared_ones__all_are_here(shared):
    """Catches a case of these kinds that nobody runs."""
    cases = json.loads((shared / "cases" / "expected.json").read_text(encoding="utf-8"))["cases"]
    cases = cases if isinstance(cases, dict) else {case["id"]: case for case in cases}
    kinds = {name: case["expect"] for name, case in cases.items() if name.split("-")[0] in RUN}
    assert kinds == {name: case["expect"] for name, case in EXPECTED.items()}
