"""AP on LVIS: what was not looked for does not count."""

import copy

import numpy as np
import pytest

from dense.errors import ConfigError, DataError
from dense.evaluation import evaluate_instances, evaluate_lvis


def _annotations(rng, images=6, classes=5):
    """Boxes at random; every category that an image lacks is verified absent."""
    objects, records = [], []
    for n in range(images):
        present = rng.choice(classes, size=rng.integers(1, 4), replace=False)
        for k in present:
            x, y, w, h = (float(v) for v in rng.integers(1, 40, 4))
            objects.append({"id": len(objects), "image_id": n, "category_id": int(k) * 3, "bbox": [x, y, w, h], "area": w * h})
        absent = [int(k) * 3 for k in range(classes) if k not in present]
        url = f"http://images.cocodataset.org/val2017/{n}.jpg"
        records.append(
            {"id": n, "width": 90, "height": 90, "coco_url": url, "neg_category_ids": absent, "not_exhaustive_category_ids": []}
        )
    categories = [{"id": 3 * k, "name": f"c{k}", "frequency": "rcfrc"[k]} for k in range(classes)]
    return {"images": records, "annotations": objects, "categories": categories}


def _detections(rng, data):
    """The objects moved a little, and boxes anywhere."""
    found = []
    for item in data["annotations"]:
        x, y, w, h = item["bbox"]
        box = [x + float(rng.integers(0, 4)), y, w, h]
        found.append(
            {"image_id": item["image_id"], "category_id": item["category_id"], "score": float(rng.uniform()), "bbox": box}
        )
    for _ in range(30):
        box = [float(v) for v in rng.integers(1, 40, 4)]
        image, category = int(rng.integers(len(data["images"]))), 3 * int(rng.integers(len(data["categories"])))
        found.append({"image_id": image, "category_id": category, "score": float(rng.uniform()), "bbox": box})
    return found


def _coco(data):
    """The same as a COCO file."""
    return {**data, "images": [{**image, "file_name": "x.jpg"} for image in data["images"]]}


@pytest.mark.parametrize("seed", range(4))
def test_evaluate_lvis__everything_verified__coco_figures(seed):
    """Catches a protocol that differs from COCO's where it should not, and ids that are mixed up."""
    rng = np.random.default_rng(seed)
    data = _annotations(rng)
    found = _detections(rng, data)
    ours, coco = evaluate_lvis(data, found, "bbox"), evaluate_instances(_coco(data), found, "bbox", limits=(1, 10, 300))
    assert 0 < ours["AP"] < 100
    for name in ("AP", "AP50", "AP75", "APs", "AR300"):
        assert ours[name] == pytest.approx(coco[name], abs=1e-9), name
    of = {name: [v for (k, v) in enumerate(coco["per_category"].values()) if "rcfrc"[k] == name] for name in "rcf"}
    for name, values in of.items():
        known = [v for v in values if not np.isnan(v)]
        assert ours[f"AP{name}"] == pytest.approx(np.mean(known) if known else np.nan, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("seed", range(4))
def test_evaluate_lvis__nothing_known__as_if_not_detected(seed):
    """Catches detections that count as false alarms where nobody has looked."""
    rng = np.random.default_rng(seed)
    data = _annotations(rng)
    found = _detections(rng, data)
    federated = copy.deepcopy(data)
    for image in federated["images"]:
        image["neg_category_ids"] = []
    pairs = {(a["image_id"], a["category_id"]) for a in data["annotations"]}
    kept = [d for d in found if (d["image_id"], d["category_id"]) in pairs]
    assert len(kept) < len(found)
    assert evaluate_lvis(federated, found, "bbox")["AP"] == pytest.approx(evaluate_lvis(data, kept, "bbox")["AP"], abs=1e-9)


def test_evaluate_lvis__more_than_the_limit__best_of_the_image_count():
    """Catches a limit per category, which lets every category fill its own."""
    data = _annotations(np.random.default_rng(0), images=1)
    item = data["annotations"][0]
    hit = {"image_id": 0, "category_id": item["category_id"], "score": 0.1, "bbox": item["bbox"]}
    others = (
        sorted({a["category_id"] for a in data["annotations"]} - {item["category_id"]}) or data["images"][0]["neg_category_ids"]
    )
    noise = [{"image_id": 0, "category_id": others[0], "score": 0.5, "bbox": [0.0, 0.0, 2.0, 2.0]}] * 20
    name = next(c["name"] for c in data["categories"] if c["id"] == item["category_id"])
    assert evaluate_lvis(data, [hit, *noise], "bbox", limit=21)["per_category"][name] == pytest.approx(100)
    assert evaluate_lvis(data, [hit, *noise], "bbox", limit=20)["per_category"][name] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["images"][2].pop("neg_category_ids"), r"images\[2\] \(id 2\): `neg_category_ids` is missing.*LVIS"),
        (lambda d: d["images"][0].update(not_exhaustive_category_ids=[1]), r"has 1, which is no category"),
        (lambda d: d["categories"][1].pop("frequency"), r"categories\[1\]: `frequency` is None, expected r, c or f"),
    ],
)
def test_evaluate_lvis__field_of_lvis_wrong__named(change, message):
    """Catches a COCO file taken for LVIS: a foreign KeyError, or figures of another protocol."""
    data = _annotations(np.random.default_rng(1))
    change(data)
    with pytest.raises(DataError, match=message):
        evaluate_lvis(data, [], "bbox")


def test_evaluate_lvis__wrong_words__config_error():
    """Catches a misspelt overlap that scores masks."""
    data = _annotations(np.random.default_rng(1))
    with pytest.raises(ConfigError, match="overlap: 'box'"):
        evaluate_lvis(data, [], "box")
    with pytest.raises(ConfigError, match="limit: 0"):
        evaluate_lvis(data, [], "bbox", limit=0)
