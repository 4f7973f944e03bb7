"""The training command line with what a pretraining sets: LARS, accumulation, epochs, no test sets, precise statistics."""

import json

import pytest
import torch
from safetensors.torch import load_file

import dense.data.loaders.config as loader_config
from dense import load_config

PRECISE = ["TEST.PRECISE_BN.ENABLED", "True", "TEST.PRECISE_BN.NUM_ITER", "2", "MODEL.TIMM.FREEZE_NORM", "False"]
OPTIONS = ["DATASETS.TEST", "()", "SOLVER.OPTIMIZER", "LARS", "SOLVER.BASE_LR", "0.5", "SOLVER.LR_SCALING", "sqrt"]
OPTIONS += ["SOLVER.LR_SCHEDULER_NAME", "WarmupThenCosineLR", "SOLVER.EPOCHS", "2", "SOLVER.WARMUP_EPOCHS", "0.5"]
OPTIONS += ["SOLVER.ACCUMULATE", "2", "SOLVER.IMS_PER_BATCH", "1", "SOLVER.CHECKPOINT_PERIOD", "1", "SOLVER.LOG_PERIOD", "1"]


@pytest.fixture
def four_videos(monkeypatch):
    """The number of training samples, counted without reading them."""
    monkeypatch.setattr(loader_config, "training_set_length", lambda cfg: 4, raising=False)


def rows(folder):
    lines = [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]
    return {line.pop("iteration"): {k: v for k, v in line.items() if "time" not in k} for line in lines}


@pytest.mark.slow
def test_train__pretraining_settings__stopped_and_continued_like_whole(train, four_videos, tmp_path):
    """Catches epochs, the place in the data or velocities lost by --resume, and a need for test sets or their classes."""
    for words in (["whole"], ["parts", "--stop-after", "2"], ["parts", "--resume"]):
        outcome = train(*words[1:], "OUTPUT_DIR", tmp_path / words[0], *PRECISE, *OPTIONS)
        assert outcome.status == 0, outcome.err
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert load_config(whole / "config.yaml").SOLVER.MAX_ITER == 4  # two epochs of two steps of two batches
    assert load_config(whole / "config.yaml").SOLVER.WARMUP_ITERS == 1
    assert rows(parts) == rows(whole)
    assert list(rows(whole)) == [1, 2, 3, 4]  # and no line of an evaluation of nothing
    first, second = load_file(whole / "model_final.safetensors"), load_file(parts / "model_final.safetensors")
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_train__fewer_samples_than_a_step__one_line(train, four_videos, tmp_path):
    """Catches a run of no iterations, and a folder made for it."""
    outcome = train("OUTPUT_DIR", tmp_path / "run", *OPTIONS, "SOLVER.ACCUMULATE", "8")
    assert outcome.status == 1
    assert "SOLVER.EPOCHS: 2, but the training sets hold 4 samples and one step takes 8" in outcome.err[-1]
    assert not (tmp_path / "run").exists()
