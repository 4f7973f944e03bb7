"""Panoptic quality: derived cases, and a second implementation that loops over pixels and segments."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dense.data.formats.category_table import Category
from dense.data.formats.coco_panoptic import SegmentInfo
from dense.data.formats.png_ids import write_id_map
from dense.errors import DataError
from dense.evaluation import evaluate_panoptic
from dense.evaluation.panoptic import PanopticCounter, panoptic_figures

CASES = Path(__file__).parents[1] / "data" / "cases"
EXPECTED = json.loads((CASES / "images_expected.json").read_text(encoding="utf-8"))


def evaluate_case(name):
    folder = CASES / name
    return evaluate_panoptic(folder / "gt.json", folder / "gt", folder / "pred.json", folder / "pred")


@pytest.mark.parametrize("name", ["pq-basic", "pq-void", "pq-no-prediction"])
def test_evaluate_panoptic__hard_case__value_as_derived(name):
    """Catches void pixels in the union, void-only predictions counted as false alarms, means over the wrong classes."""
    facts = EXPECTED[name]["expect"]["facts"]
    figures = evaluate_case(name)
    for key in facts.keys() - {"tol"}:
        assert figures[key] == pytest.approx(facts[key], abs=facts["tol"])


def test_evaluate_panoptic__no_stuff_anywhere__undefined():
    """Catches 0 or -1 shown as a figure where there is nothing to measure."""
    assert math.isnan(evaluate_case("pq-void")["PQ_st"])


def test_evaluate_panoptic__truth_against_itself__hundred(shared):
    """Catches anything in real COCO files (crowds, void, ids beyond 16 bits) that costs a perfect prediction."""
    folder = shared / "data" / "real" / "annotations"
    files = (folder / "coco_panoptic_2_gt.json", folder / "coco_panoptic_2_gt")
    figures = evaluate_panoptic(*files, *files)
    assert {figures[k] for k in ("PQ", "SQ", "RQ", "PQ_th", "PQ_st")} == {100.0}


def brute_force(annotated, wanted, predicted, found):
    """Sum of IoU, matches, false alarms and misses by category, pixel by pixel in plain Python."""
    pixels = [(int(g), int(p)) for g, p in zip(annotated.ravel(), predicted.ravel(), strict=True)]
    rows = {s.category_id: [0.0, 0, 0, 0] for s in (*wanted, *found)}
    taken_wanted, taken_found = set(), set()
    for g in wanted:
        for p in found:
            if g.iscrowd or g.category_id != p.category_id:
                continue
            common = sum(pair == (g.id, p.id) for pair in pixels)
            union = sum(a == g.id or (b == p.id and a != 0) for a, b in pixels)
            if union and 2 * common > union:
                rows[g.category_id][0] += common / union
                rows[g.category_id][1] += 1
                taken_wanted.add(g.id)
                taken_found.add(p.id)
    crowds = {g.id: g.category_id for g in wanted if g.iscrowd}
    for p in found:
        if p.id not in taken_found:
            area = sum(b == p.id for _, b in pixels)
            excused = sum(b == p.id and (a == 0 or crowds.get(a) == p.category_id) for a, b in pixels)
            rows[p.category_id][2] += 2 * excused <= area
    for g in wanted:
        rows[g.category_id][3] += not g.iscrowd and g.id not in taken_wanted
    return rows


@st.composite
def image(draw, crowds):
    """A map of at most 5 segments over 6 x 8 pixels, in blocks so that segments overlap well, and its segments."""
    seed = draw(st.integers(0, 10**6))
    rng = np.random.default_rng(seed)
    ids = np.repeat(np.repeat(rng.integers(0, 5, (3, 4)), 2, axis=0), 2, axis=1).astype(np.int32)
    ids[rng.uniform(size=ids.shape) < 0.15] = 0
    segments = [SegmentInfo(int(i), int(rng.integers(1, 3)), bool(crowds and rng.uniform() < 0.3)) for i in np.unique(ids) if i]
    return ids, segments


@settings(max_examples=150, deadline=None)
@given(truth=image(crowds=True), guess=image(crowds=False), noise=st.floats(0, 0.6), seed=st.integers(0, 99))
def test_panoptic_counter__random_images__equals_brute_force(truth, guess, noise, seed):
    """Catches any slip in matching, void, crowd, false alarms and misses."""
    annotated, wanted = truth
    # A prediction near the truth, so that matches occur at all: part of the picture comes from the other map.
    predicted = np.where(np.random.default_rng(seed).uniform(size=annotated.shape) < noise, guess[0] + 10, annotated)
    predicted[predicted == 10] = 0
    classes = {s.id: s.category_id for s in wanted} | {s.id + 10: s.category_id for s in guess[1]}
    found = [SegmentInfo(int(i), classes[int(i)], False) for i in np.unique(predicted) if i]
    counter = PanopticCounter()
    counter.add(annotated, wanted, predicted, found)
    expected = brute_force(annotated, wanted, predicted, found)
    for category, row in expected.items():
        count = counter.counts[category]
        assert [count.iou, count.matched, count.false_alarms, count.missed] == pytest.approx(row)


def test_panoptic_counter__crowd_of_same_class__excuses_a_false_alarm():
    """Catches crowds that are matched, missed, or excuse other classes."""
    annotated = np.full((2, 4), 7, np.int32)
    crowd = [SegmentInfo(7, 1, True)]
    for category, alarms in ((1, 0), (2, 1)):
        counter = PanopticCounter()
        counter.add(annotated, crowd, np.full((2, 4), 3, np.int32), [SegmentInfo(3, category, False)])
        assert counter.counts[category].false_alarms == alarms
        assert counter.counts[1].missed == 0
        assert counter.counts[1].matched == 0


def test_panoptic_figures__equal_names__told_apart():
    """Catches one category that hides another of the same name."""
    counter = PanopticCounter()
    ids = np.array([[1, 2]], np.int32)
    segments = [SegmentInfo(1, 1, False), SegmentInfo(2, 2, False)]
    counter.add(ids, segments, ids, segments)
    figures = panoptic_figures(counter.counts, [Category(1, "x"), Category(2, "x", isthing=False)])
    assert list(figures["per_category"]) == ["x (id 1)", "x (id 2)"]


def test_evaluate_panoptic__prediction_png_of_other_size__error(tmp_path):
    """Catches results at another resolution that end as a foreign traceback."""
    folder = CASES / "pq-basic"
    write_id_map(tmp_path / "0000.png", np.zeros((5, 10), np.int32))
    with pytest.raises(DataError, match=r"0000\.png.*5x10.*10x10"):
        evaluate_panoptic(folder / "gt.json", folder / "gt", folder / "pred.json", tmp_path)


def test_evaluate_panoptic__no_folder_of_results__error(tmp_path):
    """Catches a wrong folder that is reported as a missing picture."""
    folder = CASES / "pq-basic"
    with pytest.raises(DataError, match="nowhere"):
        evaluate_panoptic(folder / "gt.json", folder / "gt", folder / "pred.json", tmp_path / "nowhere")
