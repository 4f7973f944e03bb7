"""The demo and evaluation of the shipped model on held-out world videos."""

import json
from html.parser import HTMLParser

import numpy as np
import pytest

from dense.inference import demo_world
from dense.inference.model_source import zoo_weights
from dense.inference.video_predictor import VideoPredictor
from dense.inference.world_pages import shown_tracks
from dense.inference.world_run import model_card, run_world
from dense.io import read_json
from dense.structures import Track, VideoResult
from dense.structures.rle import encode
from dense.video import open_frames

NAME = "world_ctvis_lite0"


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Output folder of one demo run on two videos."""
    folder = tmp_path_factory.mktemp("demo")
    assert demo_world.main(["--output", str(folder), "--videos", "2"]) == 0
    return folder


def test_demo__two_videos__files_agree_with_each_other(demo):
    """Catches a video without all frames, a page without its videos, results that cannot be scored."""
    with open_frames(demo / "demo.mp4") as source:
        frames = list(source)
    assert len(frames) == 2 * 24
    assert frames[0].image.shape[1] > 2 * 640  # ground truth beside prediction, enlarged twice
    results = read_json(demo / "results.json")
    assert {record["video_id"] for record in results} == {1, 2}
    assert all(len(record["segmentations"]) == 24 for record in results)


def test_demo__page__is_self_contained_and_shows_both_videos(demo):
    """Catches links to the network and missing timelines."""
    text = (demo / "index.html").read_text(encoding="utf-8")
    found: dict[str, int] = {}

    class Tags(HTMLParser):
        def handle_starttag(self, tag, attrs):
            found[tag] = found.get(tag, 0) + 1
            for key, value in attrs:
                if key in {"src", "href"}:
                    assert value.startswith(("data:", "#")), value[:60]

    Tags().feed(text)
    assert found["video"] == 2
    assert found["svg"] >= 2


def test_demo__second_call__keeps_the_world(demo):
    """Catches videos that are made anew each time."""
    before = (demo / "world_2" / "valid.json").stat().st_mtime_ns
    assert demo_world.main(["--output", str(demo), "--videos", "2"]) == 0
    assert (demo / "world_2" / "valid.json").stat().st_mtime_ns == before


def test_demo__own_video__writes_video_lines_and_page(demo, tmp_path):
    """Catches a demo that only knows the world's files."""
    assert demo_world.main(["--input", str(demo / "demo.mp4"), "--output", str(tmp_path)]) == 0
    folder = tmp_path / "demo"
    lines = (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + 48
    assert json.loads(lines[1])["height"] == json.loads(lines[-1])["height"]
    assert "No ground truth" in (folder / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["missing.mp4", "empty.mp4"])
def test_demo__input_that_is_no_video__one_line(name, tmp_path, capsys):
    """Catches tracebacks and exit code 0 for wrong input."""
    (tmp_path / "empty.mp4").touch()
    assert demo_world.main(["--input", str(tmp_path / name), "--output", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err.strip()
    assert name in error
    assert "\n" not in error


def test_card__shipped_weights__hash_and_size_are_those_of_the_file():
    """Catches weights that were replaced without their card."""
    from dense.checkpoint.writing import file_hash

    card = model_card(NAME)
    path = zoo_weights(NAME)
    assert card["sha256"] == file_hash(path)
    assert card["bytes"] == path.stat().st_size <= 12_000_000


def test_shipped_model__three_videos__is_far_from_chance(tmp_path):
    """Catches weights, preprocessing or association that broke: an untrained model scores 0."""
    assert run_world(VideoPredictor(NAME), tmp_path, 3).scores["AP"] > 40


@pytest.mark.slow
def test_shipped_model__forty_videos__reaches_the_bar_and_the_card(tmp_path):
    """Catches a model below its promise (AP 50, AP50 70) or a card that says something else."""
    scores = run_world(VideoPredictor(NAME), tmp_path, 40).scores
    assert scores["AP"] >= 50
    assert scores["AP50"] >= 70
    assert scores["AP"] == pytest.approx(model_card(NAME)["figures"]["40 videos"]["AP"], abs=0.5)


def test_shown_tracks__matching_and_extra__take_the_truths_number_or_the_next():
    """Catches colours that differ between ground truth and its prediction, and two tracks of one number."""
    left, right = np.zeros((8, 16), bool), np.zeros((8, 16), bool)
    left[:, :6], right[:, 10:] = True, True
    truth = [Track(1, 0, 1.0, [encode(left)]), Track(2, 1, 1.0, [encode(right)])]
    result = VideoResult(
        8,
        16,
        [0.0],
        [
            Track(7, 1, 0.9, [encode(right)]),
            Track(7, 0, 0.4, [encode(right)]),
            Track(3, 0, 0.8, [encode(left)]),
            Track(5, 0, 0.5, [encode(left)]),
            Track(6, 0, 0.1, [encode(left)]),
        ],
    )
    shown = shown_tracks(truth, result, ["disc", "ring"])
    assert [(track.track_id, track.label, track.score) for track in shown] == [(2, 1, 0.9), (1, 0, 0.8), (3, 0, 0.5)]
