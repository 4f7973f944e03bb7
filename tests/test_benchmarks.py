"""The page of benchmark results: what it says is what was measured."""

import os
from pathlib import Path

import pytest

from benchmarks import real_videos, world_words
from benchmarks.report import promises, report
from dense.data.formats.video_results import parse_video_results
from dense.data.formats.youtube_vis import parse_youtube_vis
from dense.data.world import make_word_world
from dense.io import read_json, write_json

ROW = {"case": "sum", "by": "peer", "ms": 2.0, "ours faster": 3.0, "ours smaller": 5.0}


def test_promises__kept_or_not__said_as_measured():
    """Catches a promise that is not kept and stands there as kept."""
    row = {**ROW, "promised faster": 4.0, "promised smaller": 4.0}
    assert promises(row) == [
        "* sum: faster than peer: 3.0 times, promised 4 times: **NOT kept**",
        "* sum: smaller than peer: 5.0 times, promised 4 times: **kept**",
    ]
    assert promises({**row, "ours smaller": None})[1].endswith("promised 4 times: **not measured**")
    assert promises({**ROW, "promised faster": 0.0}) == []


def test_report__page__header_and_figures():
    """Catches a table without machine and date."""
    page = report({"one": {"header": ["processor, 2 threads"], "rows": [ROW]}})
    assert "## one" in page
    assert page.index("processor, 2 threads") < page.index("sum") < page.index("3.00")


def test_real_videos__published_result_files__published_figures():
    """Catches figures of our runs that are computed otherwise than those of the result files beside them."""
    shared = os.environ.get("DENSE_SHARED")
    if not shared:
        pytest.skip("needs DENSE_SHARED")
    davis = Path(shared) / "data" / "real" / "davis"
    row = real_videos.score("osvos", davis / "gt.json", davis / "results_osvos.json")
    assert row["AP"] == pytest.approx(60, abs=1e-9)
    assert row["AP50"] == pytest.approx(75, abs=1e-9)
    overlaps = [row[name] for name in ("car-shadow", "dog", "cows", "breakdance")]
    assert overlaps == pytest.approx([93.69, 38.17, 95.13, 72.92], abs=0.005)
    row = real_videos.score("rvos", davis / "gt.json", davis / "results_rvos.json")
    assert row["breakdance"] == pytest.approx(47.80, abs=0.005)


def test_real_videos__several_tracks__best_is_not_first():
    """Catches the IoU of the best track shown as that of the most certain one."""
    mask = {"size": [2, 4], "counts": [0, 4, 4]}
    half = {"size": [2, 4], "counts": [0, 2, 6]}
    annotations = {
        "videos": [{"id": 1, "height": 2, "width": 4, "file_names": ["cat/0.jpg"]}],
        "annotations": [{"id": 1, "video_id": 1, "category_id": 1, "segmentations": [mask]}],
        "categories": [{"id": 1, "name": "object"}],
    }
    dataset = parse_youtube_vis(annotations)
    results = [{"video_id": 1, "category_id": 1, "score": s, "segmentations": [m]} for s, m in ((0.9, half), (0.4, mask))]
    assert real_videos.best_and_first_iou(dataset, parse_video_results(results, dataset)) == {"cat": (100.0, 50.0)}
    assert real_videos.best_and_first_iou(dataset, []) == {"cat": (0.0, 0.0)}


def test_by_chance__perfect_detections__hit_as_often_as_chance_does(tmp_path):
    """Catches a baseline that keeps what the detector knew of categories, or one that finds nothing at all."""
    make_word_world(tmp_path, train_images=0, valid_images=12, size=(64, 96), workers=1)
    annotations = tmp_path / "annotations/instances_valid.json"
    content = read_json(annotations)
    kept = ("image_id", "category_id", "bbox", "segmentation")
    ids = [category["id"] for category in content["categories"]]
    results = [{**{k: item[k] for k in kept}, "score": 1.0} for item in content["annotations"]]
    write_json(tmp_path / "all.json", [{**item, "category_id": i} for item in results for i in ids])
    write_json(tmp_path / "right.json", results)
    few, many = (
        world_words.by_chance(annotations, tmp_path / "images/valid", tmp_path / n, 0) for n in ("right.json", "all.json")
    )
    assert 0 < few["bbox/AP50"] < 8  # one in 56 is right by chance, and alone in its category oftener than that
    assert few["bbox/AP50"] < many["bbox/AP50"] < 40
