"""Average precision of video instance segmentation: reference numbers, hard cases, real results, an oracle made of loops."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dense.evaluation
from dense.data.formats import AnnotationsMissingError, ResultRecord, read_video_results, read_youtube_vis
from dense.errors import DataError
from dense.evaluation.tube_iou import tube_iou
from dense.evaluation.video_instances import evaluate_video_instances, precision_tables, summarise
from dense.structures import rle

CASES = Path(__file__).parents[1] / "data" / "cases"
EXPECTED = json.loads((CASES / "youtube_vis_expected.json").read_text(encoding="utf-8"))
SCORED = [name for name, case in EXPECTED.items() if "AP" in case["expect"].get("facts", {})]


@pytest.mark.parametrize("name", SCORED)
def test_evaluate_video_instances__hard_case__value_worked_out_by_hand(name):
    """Catches the faults of public tools: id 0 lost, ties, thresholds, one-sided masks, empty videos or results."""
    figures = evaluate_video_instances(CASES / name / "gt.json", CASES / name / "results.json")
    facts = EXPECTED[name]["expect"]["facts"]
    wanted = {key: value for key, value in facts.items() if key.startswith(("AP", "AR"))}
    assert {key: figures[key] for key in wanted} == pytest.approx(wanted, abs=facts["tol"])


def test_evaluate_video_instances__class_without_objects__undefined_not_zero():
    """Catches undefined figures given as 0 or -1, which enter means."""
    figures = evaluate_video_instances(
        CASES / "yt-class-without-gt" / "gt.json", CASES / "yt-class-without-gt" / "results.json"
    )
    assert math.isnan(figures["per_category"]["dog"])
    assert figures["per_category"]["person"] == 100
    assert math.isnan(figures["APl"])


def test_evaluate_video_instances__annotations_null__own_error():
    """Catches NaN figures or a traceback on the challenges' validation files."""
    with pytest.raises(AnnotationsMissingError):
        evaluate_video_instances(CASES / "yt-annotations-null" / "gt.json", CASES / "yt-annotations-null" / "results.json")


@pytest.mark.parametrize("name", ["yt-result-unknown-video", "yt-result-nan-score", "yt-coco-file-given"])
def test_evaluate_video_instances__wrong_input__data_error(name):
    """Catches scoring of results that do not belong to the file."""
    with pytest.raises(DataError):
        evaluate_video_instances(CASES / name / "gt.json", CASES / name / "results.json")


@pytest.mark.golden
@pytest.mark.parametrize("case", ["vis", "vis_perfect"])
def test_precision_tables__golden__all_numbers_equal(golden, case):
    """Catches any difference from the reference evaluator: IoU, precision and recall tables, the 12 figures, each category."""
    reference = np.load(golden("evaluation/video_instances.npz"))
    dataset = read_youtube_vis(golden("evaluation/ytvis_gt.json"))
    if case == "vis":
        records = read_video_results(golden("evaluation/ytvis_pred.json"), dataset)
    else:  # each annotated object predicted exactly
        records = [ResultRecord(t.video_id, t.category_id, 1.0, t.segmentations) for v in dataset.videos for t in v.tracks]
    tables = precision_tables(dataset, records)
    np.testing.assert_allclose(np.nan_to_num(tables.precision, nan=-1), reference[f"{case}.precision"], atol=1e-6)
    np.testing.assert_allclose(np.nan_to_num(tables.recall, nan=-1), reference[f"{case}.recall"], atol=1e-6)
    figures = summarise(tables, dataset)
    np.testing.assert_allclose([figures[n] / 100 for n in reference["vis.stat_names"]], reference[f"{case}.stats"], atol=1e-8)
    flat = figures | {f"AP-{name}": value for name, value in figures["per_category"].items()}
    np.testing.assert_allclose([flat[n] for n in reference[f"{case}.metric_names"]], reference[f"{case}.metrics"], atol=1e-6)

    start = 0
    for video_id, category_id, num_predictions, num_objects in reference[f"{case}.iou_pairs"]:
        video = next(v for v in dataset.videos if v.id == video_id)
        chosen = [r for r in records if (r.video_id, r.category_id) == (video_id, category_id)]
        chosen = sorted(chosen, key=lambda r: -r.score)[:100]
        objects = [t.segmentations for t in video.tracks if t.category_id == category_id]
        assert (len(chosen), len(objects)) == (num_predictions, num_objects)
        wanted = reference[f"{case}.ious"][start : start + num_predictions * num_objects]
        got = tube_iou([r.segmentations for r in chosen], objects, video.length)
        np.testing.assert_allclose(got.ravel(), wanted, atol=1e-6)
        start += num_predictions * num_objects
    assert start == len(reference[f"{case}.ious"])


REAL = {
    "osvos": ({"AP": 60, "AP50": 75, "AP75": 50, "APm": 60, "AR1": 60, "AR10": 60}, [0.9369, 0.3817, 0.9513, 0.7292]),
    "rvos": ({"AP": 67.5, "AP50": 75, "AP75": 75, "APm": 67.5, "AR1": 67.5, "AR10": 67.5}, [0.9194, 0.9161, 0.9110, 0.4780]),
}


@pytest.mark.parametrize("method", sorted(REAL))
def test_evaluate_video_instances__real_results__figures_of_the_official_evaluator(shared, method):
    """Catches differences that synthetic masks do not show; figures and best IoU are those noted beside the real files."""
    folder = shared / "data" / "real" / "davis"
    dataset = read_youtube_vis(folder / "gt.json")
    records = read_video_results(folder / f"results_{method}.json", dataset)
    wanted, best = REAL[method]
    figures = evaluate_video_instances(dataset, records)
    assert {key: figures[key] for key in wanted} == pytest.approx(wanted, abs=1e-7)
    assert all(math.isnan(figures[key]) for key in ("APs", "APl", "ARs", "ARl"))
    for video, iou in zip(dataset.videos, best, strict=True):
        tracks = [r.segmentations for r in records if r.video_id == video.id]
        got = tube_iou(tracks, [video.tracks[0].segmentations], video.length).max()
        assert got == pytest.approx(iou, abs=5e-5)


def random_set(rng):
    """Small videos of blocks: a data set and predictions as JSON, and the pixels of every track ``(T, H, W)``."""
    height, width = (int(n) for n in rng.integers(2, 7, 2))
    videos, annotations, predictions, pixels = [], [], [], {"gt": [], "dt": []}
    for video_id in rng.permutation(3).tolist():
        frames = int(rng.integers(1, 4))
        names = [f"{video_id}/{t}" for t in range(frames)]
        videos.append({"id": video_id, "width": width, "height": height, "file_names": names})
        base = rng.random((2, frames, height, width)) < 0.6
        for side, target, most in (("gt", annotations, 4), ("dt", predictions, 7)):
            for _ in range(rng.integers(0, most)):
                tube = base[rng.integers(2)] & (rng.random((frames, height, width)) < rng.choice([0.7, 1.0]))
                masks = [rle.encode(m) if m.any() else None for m in tube]
                record = {"video_id": video_id, "category_id": int(rng.integers(2)), "segmentations": masks}
                if side == "gt":
                    areas = [float(x) for x in rng.choice([0, 100, 128**2, 30000, 256**2, 90000], frames)]
                    record |= {"id": len(annotations), "areas": areas, "iscrowd": int(rng.random() < 0.2)}
                else:
                    record["score"] = float(np.round(rng.random(), 1))
                pixels[side].append(tube)
                target.append(record)
    categories = [{"id": k, "name": f"c{k}"} for k in (1, 0)]
    return {"videos": videos, "annotations": annotations, "categories": categories}, predictions, pixels


def ap_by_loops(data, predictions, pixels, category, low, high, threshold, limit):
    """(AP, recall) of one category at one threshold by the definition, without any table; ``None`` without objects."""

    def mean_area(values):
        seen = [v for v in values if v]
        return sum(seen) / len(seen) if seen else 0

    ranked, count = [], 0
    for video_id in sorted(v["id"] for v in data["videos"]):
        objects = [n for n, a in enumerate(data["annotations"]) if (a["video_id"], a["category_id"]) == (video_id, category)]
        skip = {
            n: data["annotations"][n]["iscrowd"] or not low <= mean_area(data["annotations"][n]["areas"]) <= high
            for n in objects
        }
        count += sum(not s for s in skip.values())
        free = set(objects)
        found = [n for n, p in enumerate(predictions) if (p["video_id"], p["category_id"]) == (video_id, category)]
        for n in sorted(found, key=lambda n: -predictions[n]["score"])[:limit]:
            best = None
            for wanted in (False, True):  # objects that count first, then those that are ignored
                reached = [
                    (overlap(pixels["dt"][n], pixels["gt"][g]), g)
                    for g in objects
                    if bool(skip[g]) == wanted and (g in free or data["annotations"][g]["iscrowd"])
                ]
                reached = [pair for pair in reached if pair[0] >= min(threshold, 1 - 1e-10)]
                if reached and best is None:
                    best = max(reached)[1]
            free.discard(best)
            if best is not None and not skip[best]:
                ranked.append((predictions[n]["score"], True))
            elif best is None and low <= mean_area([m.sum() for m in pixels["dt"][n]]) <= high:
                ranked.append((predictions[n]["score"], False))
    if not count:
        return None
    ranked.sort(key=lambda pair: -pair[0])
    right, points = 0, []
    for place, (_, hit) in enumerate(ranked, start=1):
        right += hit
        points.append((right / count, right / place))
    total = [max((p for r, p in points if r >= level), default=0) for level in np.linspace(0, 1, 101)]
    return sum(total) / 101, right / count


def overlap(a, b):
    union = (a | b).sum()
    return (a & b).sum() / union if union else 0.0


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_evaluate_video_instances__random_videos__equal_to_loops(seed):
    """Catches errors anywhere in the chain (areas, grouping, crowds, averaging) by an implementation that shares nothing."""
    data, predictions, pixels = random_set(np.random.default_rng(seed))
    figures = evaluate_video_instances(data, predictions)
    levels = np.linspace(0.5, 0.95, 10)
    sides = {"": (0, 1e10), "s": (0, 128**2), "m": (128**2, 256**2), "l": (256**2, 1e10)}
    for suffix, (low, high) in sides.items():
        values = [ap_by_loops(data, predictions, pixels, k, low, high, t, 100) for t in levels for k in (0, 1)]
        known = [v for v in values if v is not None]
        wanted = 100 * np.mean(known, axis=0) if known else (math.nan, math.nan)
        np.testing.assert_allclose([figures[f"AP{suffix}"], figures[f"AR{suffix or '100'}"]], wanted, atol=1e-9)
    first = [ap_by_loops(data, predictions, pixels, k, 0, 1e10, t, 1) for t in levels for k in (0, 1)]
    known = [v[1] for v in first if v is not None]
    np.testing.assert_allclose(figures["AR1"], 100 * np.mean(known) if known else math.nan, atol=1e-9)


def test_evaluate_video_instances__long_video__not_lost_in_32_bits():
    """Catches an AP of 0 for an exact prediction of a long 1080p video (4.6e9 pixels)."""
    height, width, frames = 1080, 1920, 2200
    mask = rle.to_rle({"size": [height, width], "counts": [0, height * width]}, height, width)
    video = {"id": 1, "width": width, "height": height, "file_names": [f"{t}.jpg" for t in range(frames)]}
    track = {"video_id": 1, "category_id": 1, "segmentations": [mask] * frames}
    data = {"videos": [video], "annotations": [{"id": 1, **track}], "categories": [{"id": 1, "name": "a"}]}
    figures = evaluate_video_instances(data, [{"score": 0.5, **track}])
    assert (figures["AP"], figures["APl"]) == (100, 100)


def test_evaluate_video_instances__two_categories_of_one_name__both_reported():
    """Catches a category that overwrites another in the table."""
    data = json.loads((CASES / "yt-ok" / "gt.json").read_text(encoding="utf-8"))
    data["categories"][1]["name"] = "person"
    assert list(evaluate_video_instances(data, [])["per_category"]) == ["person (id 1)", "person (id 2)"]


def test_evaluation_package__attribute__loaded_when_used():
    """Catches a public function that is missing from the package, and a silent None for a wrong name."""
    assert dense.evaluation.evaluate_video_instances is evaluate_video_instances
    with pytest.raises(AttributeError, match="evaluate_vides"):
        dense.evaluation.evaluate_vides  # noqa: B018
