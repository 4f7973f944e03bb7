"""Fixed AP, and AP of base and novel categories, against brute force."""

import copy
import json

import numpy as np
import pytest

from dense.data.categories import WordSplit
from dense.data.formats.lvis import parse_lvis
from dense.errors import ConfigError, DataError
from dense.evaluation import evaluate_instances, evaluate_lvis, evaluate_lvis_fixed, evaluate_open_vocabulary
from dense.evaluation.command import main

from .federated_oracle import average_precision, best_of_categories

CLASSES = 6


def annotations(rng, images=7):
    """Boxes at random; some categories of an image were not looked for, some are not marked to the last object."""
    objects, records = [], []
    for n in range(images):
        present = rng.choice(CLASSES, size=rng.integers(1, 4), replace=False)
        for k in np.repeat(present, rng.integers(1, 3)):
            x, y, w, h = (float(v) for v in rng.integers(1, 40, 4))
            objects.append({"id": len(objects), "image_id": n, "category_id": int(k) * 3, "bbox": [x, y, w, h], "area": w * h})
        absent = [int(k) * 3 for k in range(CLASSES) if k not in present and rng.uniform() < 0.6]
        partial = [int(k) * 3 for k in present if rng.uniform() < 0.4]
        records.append(
            {
                **{"id": n, "width": 90, "height": 90, "file_name": f"{n}.jpg"},
                **{"neg_category_ids": absent, "not_exhaustive_category_ids": partial},
            }
        )
    categories = [{"id": 3 * k, "name": f"c{k}", "frequency": "rcfrcf"[k]} for k in range(CLASSES)]
    return {"images": records, "annotations": objects, "categories": categories}


def detections(rng, data, noise=60):
    """The objects moved a little, and boxes anywhere; all scores differ."""
    found = []
    for item in data["annotations"]:
        x, y, w, h = item["bbox"]
        box = [x + float(rng.integers(0, 4)), y, w, h]
        found.append({"image_id": item["image_id"], "category_id": item["category_id"], "bbox": box})
    for _ in range(noise):
        box = [float(v) for v in rng.integers(1, 40, 4)]
        image, category = int(rng.integers(len(data["images"]))), 3 * int(rng.integers(CLASSES))
        found.append({"image_id": image, "category_id": category, "bbox": box})
    for detection, score in zip(found, rng.permutation(len(found)), strict=True):
        detection["score"] = (float(score) + 1) / (len(found) + 1)
    return found


@pytest.mark.parametrize("number", [1, 4, 9, 10_000])
@pytest.mark.parametrize("seed", range(4))
def test_evaluate_lvis_fixed__random_cases__equals_brute_force(seed, number):
    """Catches a budget per image or over all categories, one that skips what does not count, and wrong frequency groups."""
    rng = np.random.default_rng(seed)
    data = annotations(rng)
    found = detections(rng, data)
    figures = evaluate_lvis_fixed(data, found, "bbox", number)
    kept = best_of_categories(found, number)
    groups = {"AP": "rcf", "APr": "r", "APc": "c", "APf": "f"}
    for name, frequencies in groups.items():
        wanted = [c["id"] for c in data["categories"] if c["frequency"] in frequencies]
        assert figures[name] == pytest.approx(average_precision(data, kept, wanted)[0], abs=1e-6, nan_ok=True), name
    everything = [c["id"] for c in data["categories"]]
    assert figures["AP50"] == pytest.approx(average_precision(data, kept, everything)[1], abs=1e-6)


def test_evaluate_lvis__random_case__equals_brute_force():
    """Catches an oracle that is wrong in the same way for fixed AP only: the usual protocol must agree with it too."""
    rng = np.random.default_rng(11)
    data = annotations(rng)
    found = detections(rng, data)
    everything = [c["id"] for c in data["categories"]]
    assert evaluate_lvis(data, found, "bbox")["AP"] == pytest.approx(average_precision(data, found, everything)[0], abs=1e-6)


def test_evaluate_lvis_fixed__crowded_image__no_limit_per_image():
    """Catches the usual limit of 300 an image, which lets one category push another out."""
    data = annotations(np.random.default_rng(0), images=1)
    item = data["annotations"][0]
    hit = {"image_id": 0, "category_id": item["category_id"], "score": 0.1, "bbox": item["bbox"]}
    other = next(c["id"] for c in data["categories"] if c["id"] != item["category_id"])
    noise = [{"image_id": 0, "category_id": other, "score": 0.5, "bbox": [0.0, 0.0, 2.0, 2.0]}] * 400
    name = next(c["name"] for c in data["categories"] if c["id"] == item["category_id"])
    data["annotations"] = [item]
    assert evaluate_lvis(data, [hit, *noise], "bbox")["per_category"][name] == 0
    assert evaluate_lvis_fixed(data, [hit, *noise], "bbox")["per_category"][name] == pytest.approx(100)
    assert evaluate_lvis_fixed(data, [], "bbox")["AP"] == 0


def test_evaluate_lvis_fixed__wrong_words__config_error():
    """Catches a budget of nothing, and a misspelt overlap that scores masks."""
    data = annotations(np.random.default_rng(1))
    with pytest.raises(ConfigError, match="per_category: 0"):
        evaluate_lvis_fixed(data, [], "bbox", 0)
    with pytest.raises(ConfigError, match="overlap: 'box'"):
        evaluate_lvis_fixed(data, [], "box")


SPLIT = WordSplit(("c1", "c2", "c4"), ("c0", "c3"))


def restricted(data, names):
    """Only these categories, and images with objects of them; everything looked for."""
    ids = {c["id"] for c in data["categories"] if c["name"] in names}
    objects = [a for a in data["annotations"] if a["category_id"] in ids]
    kept = {a["image_id"] for a in objects}
    images = [
        {**i, "neg_category_ids": sorted(ids), "not_exhaustive_category_ids": []} for i in data["images"] if i["id"] in kept
    ]
    return {**data, "images": images, "annotations": objects, "categories": [c for c in data["categories"] if c["id"] in ids]}


@pytest.mark.parametrize("seed", range(4))
def test_evaluate_open_vocabulary__coco_protocol__equals_brute_force_on_the_split(seed):
    """Catches swapped parts, categories outside the split that count, and images that should have been left out."""
    rng = np.random.default_rng(seed)
    data = annotations(rng, images=5)
    found = detections(rng, data)
    figures = evaluate_open_vocabulary(data, found, SPLIT)
    part = restricted(data, {*SPLIT.base, *SPLIT.novel})
    parts = {"_novel": SPLIT.novel, "_base": SPLIT.base, "": (*SPLIT.base, *SPLIT.novel)}
    for name, names in parts.items():
        wanted = [c["id"] for c in part["categories"] if c["name"] in names]
        ap, ap50 = average_precision(part, found, wanted)
        assert figures[f"AP{name}"] == pytest.approx(ap, abs=1e-6, nan_ok=True)
        assert figures[f"AP50{name}"] == pytest.approx(ap50, abs=1e-6, nan_ok=True)
    assert set(figures["per_category"]) == {*SPLIT.base, *SPLIT.novel}


def test_evaluate_open_vocabulary__whole_coco_file__its_usual_figures():
    """Catches a protocol of its own: with every category in the split, AP and AP50 are those of COCO."""
    rng = np.random.default_rng(3)
    data = annotations(rng)
    found = detections(rng, data)
    figures = evaluate_open_vocabulary(data, found, WordSplit(tuple(f"c{k}" for k in range(CLASSES)), ()))
    usual = evaluate_instances(data, found, "bbox")
    assert figures["AP"] == pytest.approx(usual["AP"])
    assert figures["AP50"] == figures["AP50_base"] == pytest.approx(usual["AP50"])
    assert np.isnan(figures["AP_novel"])


@pytest.mark.parametrize("seed", range(3))
def test_evaluate_open_vocabulary__federated__as_lvis_by_frequency(seed):
    """Catches federated annotations scored as if everything had been looked for."""
    rng = np.random.default_rng(seed)
    data = annotations(rng)
    found = detections(rng, data)
    split = WordSplit(("c1", "c2", "c4", "c5"), ("c0", "c3"))  # rare ones are novel
    figures = evaluate_open_vocabulary(parse_lvis(data, masks=False), found, split)
    lvis = evaluate_lvis(data, found, "bbox")
    assert figures["AP"] == pytest.approx(lvis["AP"], abs=1e-9)
    assert figures["AP_novel"] == pytest.approx(lvis["APr"], abs=1e-9, nan_ok=True)
    assert figures["AP50"] == pytest.approx(lvis["AP50"], abs=1e-9)


def test_evaluate_open_vocabulary__name_of_another_file__named():
    """Catches a split that silently finds nothing."""
    data = annotations(np.random.default_rng(0))
    with pytest.raises(DataError, match="no category 'C1' of the split"):
        evaluate_open_vocabulary(data, [], WordSplit(("C1",), ("c0",)))
    with pytest.raises(ConfigError, match="overlap"):
        evaluate_open_vocabulary(data, [], SPLIT, "mask")


def test_main__new_tasks__tables_and_json(tmp_path, capsys):
    """Catches a task that the command line does not know, or whose figures are not those of the function."""
    rng = np.random.default_rng(5)
    data = annotations(rng)
    found = detections(rng, data)
    coco = copy.deepcopy(data)
    files = {"gt.json": coco, "r.json": found, "novel.json": ["c0", "C3"]}
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    common = ["--gt", f"{tmp_path}/gt.json", "--predictions", f"{tmp_path}/r.json", "--overlap", "bbox"]
    common += ["--json", f"{tmp_path}/out.json"]
    assert main(["--task", "lvis-fixed", *common]) == 0
    assert json.loads((tmp_path / "out.json").read_text())["APr"] == pytest.approx(
        evaluate_lvis_fixed(data, found, "bbox")["APr"]
    )
    assert main(["--task", "open-vocabulary", "--novel", f"{tmp_path}/novel.json", *common]) == 0
    split = WordSplit(("c1", "c2", "c4", "c5"), ("c0", "c3"))
    expected = evaluate_open_vocabulary(data, found, split)
    assert json.loads((tmp_path / "out.json").read_text())["AP50_novel"] == pytest.approx(expected["AP50_novel"])
    assert "AP50_novel" in capsys.readouterr().out
    assert main(["--task", "open-vocabulary", *common]) == 1
    assert "--novel" in capsys.readouterr().err
    assert main(["--task", "open-vocabulary", "--novel", "coco_48_17", *common]) == 1
    assert "no category 'person'" in capsys.readouterr().err
