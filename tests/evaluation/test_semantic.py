"""Mean IoU: a derived case, and counting in plain Python."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dense.data.formats.png_ids import write_label_map
from dense.errors import DataError
from dense.evaluation import evaluate_semantic
from dense.evaluation.semantic import ConfusionMatrix

CASES = Path(__file__).parents[1] / "data" / "cases"
EXPECTED = json.loads((CASES / "images_expected.json").read_text(encoding="utf-8"))


def test_confusion_matrix__derived_case__value():
    """Catches ignored pixels that count, and classes that never occur in the mean."""
    stored = np.asarray(Image.open(CASES / "vss-miou" / "gt" / "v" / "00000000.png")).astype(int)
    predicted = np.asarray(Image.open(CASES / "vss-miou" / "pred" / "v" / "00000000.png"))
    matrix = ConfusionMatrix(124)
    matrix.add(np.where((stored == 0) | (stored == 255), 255, stored - 1), predicted)  # this set's labels start at 1
    facts = EXPECTED["vss-miou"]["expect"]["facts"]
    figures = matrix.figures([str(k) for k in range(124)])
    assert figures["mIoU"] == pytest.approx(facts["mIoU"])
    assert figures["pixel_accuracy"] == pytest.approx(facts["pixel_accuracy"])
    assert {k: figures["per_category"][k] for k in facts["IoU"]} == pytest.approx(facts["IoU"])
    assert math.isnan(figures["per_category"]["5"])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), images=st.integers(1, 3))
def test_confusion_matrix__random_maps__equals_counting_pixel_by_pixel(seed, images):
    """Catches rows and columns exchanged, and a "no class" prediction that is counted as right or not at all."""
    draw = np.random.default_rng(seed)
    pairs, matrix = [], ConfusionMatrix(4, ignore_label=255)
    for _ in range(images):
        truth, guess = (draw.choice([0, 1, 2, 255], size=(3, 5)) for _ in range(2))
        matrix.add(truth, guess)
        pairs += [(int(a), int(b)) for a, b in zip(truth.ravel(), guess.ravel(), strict=True) if a != 255]
    present = [k for k in range(4) if any(a == k for a, _ in pairs)]
    iou = {k: sum(p == (k, k) for p in pairs) / sum(k in p for p in pairs) for k in present}
    share = {k: sum(a == k for a, _ in pairs) / len(pairs) for k in present}
    recall = {k: sum(p == (k, k) for p in pairs) / sum(a == k for a, _ in pairs) for k in present}
    figures = matrix.figures("abcd")
    if not present:
        assert math.isnan(figures["mIoU"])
        return
    assert figures["mIoU"] == pytest.approx(100 * np.mean(list(iou.values())))
    assert figures["fwIoU"] == pytest.approx(100 * sum(iou[k] * share[k] for k in present))
    assert figures["pixel_accuracy"] == pytest.approx(100 * np.mean([a == b for a, b in pairs]))
    assert figures["mean_accuracy"] == pytest.approx(100 * np.mean(list(recall.values())))


@pytest.fixture
def folders(tmp_path):
    """A ground truth and equal predictions of two maps, one in a sub-folder."""
    for name in ("a.png", "sub/b.png"):
        for side in ("gt", "pred"):
            write_label_map(tmp_path / side / name, np.array([[0, 1, 255]]))
    return tmp_path


def test_evaluate_semantic__equal_folders__hundred(folders):
    """Catches maps of sub-folders that are passed over."""
    figures = evaluate_semantic(folders / "gt", folders / "pred", 2, category_names=["cat", "dog"])
    assert figures["mIoU"] == 100
    assert figures["per_category"] == {"cat": 100.0, "dog": 100.0}


@pytest.mark.parametrize(
    ("file", "labels", "words"),
    [("pred/a.png", [[0, 1]], "1x2"), ("pred/a.png", [[0, 7, 0]], "label 7"), ("gt/sub/b.png", [[2, 0, 0]], "label 2")],
)
def test_evaluate_semantic__map_that_does_not_fit__error_names_the_file(folders, file, labels, words):
    """Catches another resolution or another list of classes, scored silently."""
    write_label_map(folders / file, np.array(labels))
    with pytest.raises(DataError) as caught:
        evaluate_semantic(folders / "gt", folders / "pred", 2)
    assert file in str(caught.value)
    assert words in str(caught.value)


def test_evaluate_semantic__result_missing__error_names_it(folders):
    """Catches pictures without a result that raise the score."""
    (folders / "pred" / "sub" / "b.png").unlink()
    with pytest.raises(DataError, match=r"sub/b\.png"):
        evaluate_semantic(folders / "gt", folders / "pred", 2)
