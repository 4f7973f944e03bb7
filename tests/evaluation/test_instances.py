"""Average precision of boxes and masks: figures of COCO's authors, hard cases, the original library as oracle."""

import contextlib
import copy
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest

from dense.data.formats.coco import parse_coco
from dense.data.formats.youtube_vis import AnnotationsMissingError
from dense.errors import ConfigError, DataError
from dense.evaluation import evaluate_instances
from dense.structures import rle

CASES = Path(__file__).parents[1] / "data" / "cases"
EXPECTED = json.loads((CASES / "images_expected.json").read_text(encoding="utf-8"))
NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


@pytest.mark.parametrize("name", ["coco-eval-ids-from-zero", "coco-eval-crowd-part", "coco-eval-300"])
def test_evaluate_instances__hard_case__value_as_derived(name):
    """Catches an object with id 0 that is lost, crowds that make false alarms, and a limit that does not count."""
    facts = EXPECTED[name]["expect"]["facts"]
    files = (CASES / name / "gt.json", CASES / name / "results.json", "bbox")
    figures = evaluate_instances(*files)
    wide = evaluate_instances(*files, limits=(1, 10, 300))
    found = {"AP": figures["AP"], "AP_at_100": figures["AP"], "AR_at_100": figures["AR100"], "AP_at_300": wide["AP"]}
    assert "AR300" in wide
    for key in facts.keys() - {"tol"}:
        assert found[key] == pytest.approx(facts[key], abs=facts["tol"])


PUBLISHED = {
    "segm": (0.320, 0.562, 0.299, 0.387, 0.310, 0.327, 0.268, 0.415, 0.417, 0.469, 0.377, 0.381),
    "bbox": (0.505, 0.697, 0.573, 0.586, 0.519, 0.501, 0.387, 0.594, 0.595, 0.640, 0.566, 0.564),
}


@pytest.mark.parametrize("overlap", ["segm", "bbox"])
def test_evaluate_instances__real_coco_results__figures_of_its_authors(shared, overlap):
    """Catches any difference of protocol: crowds, area ranges, recall points, categories without objects."""
    folder = shared / "data" / "real" / "annotations"
    figures = evaluate_instances(
        folder / "coco_val2014_100_gt.json", folder / f"coco_val2014_100_results_{overlap}.json", overlap
    )
    assert [round(figures[name] / 100, 3) for name in NAMES] == pytest.approx(PUBLISHED[overlap], abs=1e-9)


def random_case(seed):
    """A made-up data set with crowds, ties and false alarms, and results for it; ids from 1, as the oracle needs."""
    draw = np.random.default_rng(seed)
    images = [{"id": i + 1, "width": 40, "height": 30, "file_name": f"{i}"} for i in range(6)]
    categories = [{"id": 2 * k + 1, "name": f"c{k}"} for k in range(3)]
    annotations, results = [], []
    for image in images:
        for _ in range(int(draw.integers(0, 6))):
            x, y = draw.integers(0, 30), draw.integers(0, 20)
            mask = np.zeros((30, 40), bool)
            mask[y : y + draw.integers(3, 20), x : x + draw.integers(3, 20)] = True
            category = categories[draw.integers(3)]["id"]
            code = rle.encode(mask)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image["id"],
                    "category_id": category,
                    "iscrowd": int(draw.uniform() < 0.15),
                    "segmentation": code,
                    "area": rle.area(code),
                    "bbox": rle.bounding_box(code),
                }
            )
            for _ in range(int(draw.integers(0, 3))):
                guess = np.roll(mask, draw.integers(-3, 4, 2), axis=(0, 1))
                code = rle.encode(guess)
                results.append(
                    {
                        "image_id": image["id"],
                        "category_id": category if draw.uniform() < 0.8 else 1,
                        "score": round(float(draw.uniform()), 1),
                        "segmentation": code,
                        "bbox": rle.bounding_box(code),
                    }
                )
    return {"images": images, "annotations": annotations, "categories": categories}, results


def oracle(truth, results, overlap):
    """The 12 figures of pycocotools, in percent."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    field = "segmentation" if overlap == "segm" else "bbox"
    with contextlib.redirect_stdout(io.StringIO()):
        annotated = COCO()
        annotated.dataset = copy.deepcopy({**truth, "info": {}})
        annotated.createIndex()
        fields = ("image_id", "category_id", "score", field)
        found = annotated.loadRes([{k: copy.deepcopy(r[k]) for k in fields} for r in results])
        evaluation = COCOeval(annotated, found, overlap)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float("nan") if v < 0 else 100 * v for v in evaluation.stats]


@pytest.mark.parametrize("overlap", ["segm", "bbox"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_evaluate_instances__random_data__equals_the_original_library(seed, overlap):
    """Catches what renumbering of ids or the reading of the tables could break."""
    truth, results = random_case(seed)
    figures = evaluate_instances(truth, results, overlap)
    assert [figures[name] for name in NAMES] == pytest.approx(oracle(truth, results, overlap), abs=1e-6, nan_ok=True)


def test_evaluate_instances__no_predictions__zero_and_not_undefined():
    """Catches a crash, or NaN, for a model that finds nothing; categories without objects stay undefined."""
    truth, _ = random_case(1)
    truth["categories"].append({"id": 99, "name": "never"})
    figures = evaluate_instances(truth, [])
    assert figures["AP"] == 0
    assert math.isnan(figures["per_category"]["never"])


def test_evaluate_instances__no_objects__undefined():
    """Catches -100 shown as a figure."""
    truth, results = random_case(1)
    figures = evaluate_instances({**truth, "annotations": []}, results)
    assert math.isnan(figures["AP"])


def test_evaluate_instances__per_category__mean_is_ap():
    """Catches categories in another order than their names."""
    truth, results = random_case(2)
    figures = evaluate_instances(truth, results)
    assert np.nanmean(list(figures["per_category"].values())) == pytest.approx(figures["AP"])
    only = evaluate_instances(truth, [r for r in results if r["category_id"] == 3])
    assert only["per_category"]["c1"] == pytest.approx(figures["per_category"]["c1"])
    assert only["per_category"]["c0"] == 0


def test_evaluate_instances__boxes_only_for_masks__error():
    """Catches boxes that are scored as if they were masks."""
    truth, results = random_case(1)
    boxes = [{k: v for k, v in r.items() if k != "segmentation"} for r in results]
    with pytest.raises(DataError, match=r"results\[0\].*segmentation"):
        evaluate_instances(truth, boxes)


def test_evaluate_instances__wrong_arguments__errors():
    """Catches an unknown overlap or limits that the tables cannot have."""
    truth, results = random_case(1)
    with pytest.raises(ConfigError, match="overlap"):
        evaluate_instances(truth, results, "boundary")
    with pytest.raises(ConfigError, match="limits"):
        evaluate_instances(truth, results, limits=(10, 1, 100))
    with pytest.raises(AnnotationsMissingError):
        evaluate_instances(parse_coco({k: v for k, v in truth.items() if k != "annotations"}), results)
