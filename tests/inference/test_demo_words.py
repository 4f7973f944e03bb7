"""Words on the command line: demo-words on made-up pictures, demo-image with a vocabulary."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dense import load_config
from dense.checkpoint.writing import save_weights
from dense.inference import demo_image, demo_words
from dense.modeling import build_model

SMALL = ["MODEL.DITO.CANVAS.SIDE", 128, "MODEL.DITO.PROPOSALS.BEFORE", 40, "MODEL.DITO.PROPOSALS.AFTER", 20]
SMALL += ["MODEL.DITO.TEST.DETECTIONS", 5, "INPUT.MIN_SIZE_TEST", 128, "INPUT.MAX_SIZE_TEST", 128]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A detector with random weights that carries its configuration."""
    cfg = load_config("configs/dito/world_detector.yaml", SMALL)
    torch.manual_seed(0)
    model = build_model(cfg)
    torch.nn.init.constant_(model.proposal_head.distances.bias, 0.5)
    path = tmp_path_factory.mktemp("weights") / "words.safetensors"
    save_weights(path, model.state_dict(), metadata={"config": cfg.dump()})
    return path


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Nothing is written to the user's folder."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_demo_words__made_up_pictures__boxes_masks_json_heat_maps_and_cache(weights, tmp_path, home, capsys):
    """Catches words that reach neither results nor maps, and embeddings that are not kept."""
    words = "striped triangle,  étoile rouge"
    given = ["--words", words, "--images", "2", "--min-score", "0", "--model", str(weights), "--output", str(tmp_path / "out")]
    assert demo_words.main(given) == 0
    printed = capsys.readouterr().out
    assert str(tmp_path / "out") in printed
    records = [json.loads(path.read_text()) for path in sorted((tmp_path / "out").glob("*.json"))]
    assert len(records) == 2
    assert all(record["categories"] == ["striped triangle", "étoile rouge"] for record in records)
    assert all(item["category"] in record["categories"] for record in records for item in record["objects"])
    assert any(record["objects"] for record in records)
    maps = sorted(path.name for path in (tmp_path / "out").glob("*_heat*.png"))
    assert len(maps) == 4
    assert maps[0].endswith("_heat1_striped_triangle.png")
    assert maps[1].endswith("_heat2_étoile_rouge.png")
    assert len(list((home / ".cache/dense/words").iterdir())) == 1


def test_demo_image__vocabulary__one_line_for_what_does_not_go(weights, tmp_path, capsys):
    """Catches a traceback, and pictures without results that look like success."""
    picture = tmp_path / "a.png"
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(picture)
    plain = ["--input", str(picture), "--output", str(tmp_path / "out")]
    small = ["--config-file", str(Path(__file__).resolve().parents[1] / "data/configs/tiny_image.yaml")]
    for words, message in (
        ([*plain, "--heat-map"], "--heat-map: of what"),
        ([*plain, "--model", str(weights), "--vocabulary", "disc, , star"], "words[1]: blank"),
        ([*plain, "--model", str(weights), "--vocabulary", "disc, Disc"], "is words[0] again"),
        ([*plain, *small, "--vocabulary", "disc"], "closed vocabulary"),
    ):
        assert demo_image.main(words) == 1
        error = capsys.readouterr().err.strip().splitlines()
        assert message in error[-1], error
    assert not list(tmp_path.glob("out/*.json"))
    assert demo_image.main([*plain, "--model", str(weights), "--vocabulary", "", "--word-cache", ""]) == 0
    assert json.loads((tmp_path / "out" / "a.json").read_text())["objects"] == []


@pytest.mark.parametrize("command", ["words", "image"])
def test_demo__no_shipped_weights__one_line_that_says_what_to_do(tmp_path, monkeypatch, capsys, command):
    """Catches a traceback, or a made world, before weights that are not there are missed."""
    monkeypatch.setattr("dense.inference.model_source._WEIGHTS", tmp_path / "none")
    picture = tmp_path / "a.png"
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(picture)
    if command == "words":
        status = demo_words.main(["--output", str(tmp_path / "out")])
    else:
        status = demo_image.main(["--input", str(picture), "--output", str(tmp_path / "out"), "--vocabulary", "disc"])
    (line,) = capsys.readouterr().err.splitlines()
    assert status == 1
    assert line.startswith("ConfigError: weights/world_dito_tiny.safetensors: is not there.")
    assert "projects/dito/README.md" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("words", "message"), [(["--images", "0"], "--images"), (["--words", " "], "--words")])
def test_demo_words__nothing_to_do__one_line(words, message, capsys):
    """Catches success without a picture or a word."""
    assert demo_words.main(words) == 1
    assert message in capsys.readouterr().err
