"""The training command line with the detector: a few steps, a continued run, box and mask scores."""

import json
import logging

import pytest
import torch

from dense import load_config
from dense.data.loaders.config import train_loader_from_config
from dense.data.world import make_word_world
from dense.engine.command import main
from dense.io import read_json

CONFIG = "configs/dito/world_detector.yaml"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A world of words of 4 + 2 pictures, 96 x 128 pixels."""
    root = tmp_path_factory.mktemp("datasets")
    make_word_world(root / "world_words", train_images=4, valid_images=2, size=(96, 128), workers=1)
    return root


@pytest.fixture
def options(data, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(data))
    words = {
        "MODEL.DITO.CANVAS.SIDE": 128,
        "MODEL.DITO.PROPOSALS.BEFORE": 40,
        "MODEL.DITO.PROPOSALS.AFTER": 20,
        "MODEL.DITO.REGIONS.SAMPLES": 16,
        "MODEL.DITO.TEST.DETECTIONS": 5,
        "INPUT.IMAGE_SIZE": 128,
        "INPUT.MIN_SIZE_TEST": 128,
        "INPUT.MAX_SIZE_TEST": 128,
        "SOLVER.IMS_PER_BATCH": 2,
        "SOLVER.MAX_ITER": 4,
        "SOLVER.CHECKPOINT_PERIOD": 2,
        "SOLVER.LOG_PERIOD": 1,
        "SOLVER.STEPS": "(3,)",
        "SOLVER.WARMUP_ITERS": 1,
    }
    return [str(word) for pair in words.items() for word in pair]


@pytest.fixture
def quiet():
    """Give the root logger back as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def figures(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.json").read_text(encoding="utf-8").splitlines()]


def test_train__stopped_and_continued__same_losses_and_scores_of_both_kinds(options, quiet, tmp_path):
    """Catches a detector that the trainer, the scorer or --resume does not take; an evaluation that
    looks for the words that were trained."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main(["--config-file", CONFIG, *options, "OUTPUT_DIR", str(whole)]) == 0
    assert main(["--config-file", CONFIG, "--stop-after", "2", *options, "OUTPUT_DIR", str(parts)]) == 0
    assert main(["--config-file", CONFIG, "--resume", *options, "OUTPUT_DIR", str(parts)]) == 0
    losses = [{row["iteration"]: row["total_loss"] for row in figures(f) if "total_loss" in row} for f in (whole, parts)]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 4
    scored = next(row for row in figures(whole) if any(k.startswith("test/") for k in row))
    assert any("bbox/AP" in k for k in scored)
    assert any("segm/AP" in k for k in scored)
    assert {"test/bbox/AP50_novel", "test/bbox/AP50_base", "test/segm/AP_novel"} <= set(scored)
    results = read_json(next((whole / "inference").rglob("results.json")))
    assert isinstance(results, list)


def test_loader__unpadded_jitter__pictures_fit_the_canvas_and_boxes_the_pictures(options):
    """Catches grey padding before the model's own, and boxes that did not follow the crop."""
    cfg = load_config(CONFIG, [*options, "INPUT.MIN_SCALE", 0.3])
    loader = train_loader_from_config(cfg)
    sizes = []
    for _ in range(6):
        for record in next(loader):
            height, width = record["image"].shape[1:]
            sizes.append((height, width))
            boxes, masks = record["instances"].boxes, record["instances"].masks
            assert masks.shape[1:] == (height, width)
            assert (boxes >= 0).all()
            assert (boxes[:, 2:] <= torch.tensor([width, height])).all()
            for box, mask in zip(boxes.round().int().tolist(), masks, strict=True):
                assert mask[box[1] : box[3], box[0] : box[2]].sum() == mask.sum()
    loader.close()
    assert all(max(size) <= 128 for size in sizes)
    assert any(min(size) < 128 for size in sizes)
    assert len(set(sizes)) > 1


@pytest.mark.slow
def test_train__overfitting_one_picture__losses_fall(options, quiet, tmp_path):
    """Catches gradients of the wrong sign and targets of other boxes: what was seen a dozen times must be known better."""
    words = [*options, "SOLVER.MAX_ITER", "24", "SOLVER.STEPS", "(23,)", "INPUT.MIN_SCALE", "1.0", "INPUT.MAX_SCALE", "1.0"]
    words += ["INPUT.RANDOM_FLIP", "none", "SOLVER.IMS_PER_BATCH", "4", "SOLVER.BASE_LR", "0.05", "DATASETS.TEST", "()"]
    words += ["DATASETS.DATASET_TYPE_TEST", "[]", "SOLVER.CHECKPOINT_PERIOD", "1000"]
    assert main(["--config-file", CONFIG, *words, "OUTPUT_DIR", str(tmp_path)]) == 0
    rows = [row for row in figures(tmp_path) if "total_loss" in row]
    for name in ("loss_class", "loss_objectness", "loss_mask"):
        first, last = (sum(row[name] for row in part) / 5 for part in (rows[:5], rows[-5:]))
        assert last < 0.95 * first, name
