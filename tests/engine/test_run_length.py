"""Epochs as iterations, the rate by batch, the momentum's steps."""

import numpy as np
import pytest
from detectron2.config import CfgNode

from dense import load_config
from dense.engine.run_length import in_iterations, momentum_steps, scaled_rate, step_batch
from dense.errors import ConfigError


def config(**keys):
    cfg = load_config(None, [word for key, value in keys.items() for word in (f"SOLVER.{key}", value)]).clone()
    cfg.defrost()
    cfg.PRETRAIN = CfgNode({"MOMENTUM_STEPS": 0})
    cfg.freeze()
    return cfg


@pytest.mark.parametrize(
    ("rule", "batch", "accumulate", "expected"),
    [
        ("none", 1024, 1, 0.5),
        ("linear", 1024, 1, 2.0),
        ("linear", 64, 2, 0.25),
        ("sqrt", 1024, 1, 1.0),
        ("sqrt", 512, 1, 0.5 * 2**0.5),
        ("sqrt", 16, 4, 0.25),
    ],
)
def test_scaled_rate__rules__by_the_whole_step(rule, batch, accumulate, expected):
    """Catches rules exchanged, and accumulated batches left out."""
    cfg = config(BASE_LR=0.5, LR_SCALING=rule, IMS_PER_BATCH=batch, ACCUMULATE=accumulate)
    assert scaled_rate(cfg) == pytest.approx(expected)
    assert step_batch(cfg) == batch * accumulate


def test_scaled_rate__authors_example__square_root_below_1024():
    """Catches another reading of the advice: batch 512 trains with 4·√(512/1024)."""
    cfg = config(BASE_LR=4.0, LR_SCALING="sqrt", LR_REFERENCE_BATCH=1024, IMS_PER_BATCH=512)
    assert scaled_rate(cfg) == pytest.approx(2.83, abs=2e-3)


def test_scaled_rate__unknown_rule__names_the_nearest():
    """Catches a run with another rate than the file says."""
    with pytest.raises(ConfigError, match=r"SOLVER\.LR_SCALING: unknown 'squrt'.*Did you mean 'sqrt'"):
        scaled_rate(config(LR_SCALING="squrt"))


@pytest.mark.parametrize("key", ["ACCUMULATE", "LR_REFERENCE_BATCH", "IMS_PER_BATCH"])
def test_scaled_rate__impossible_batch__names_the_key(key):
    """Catches a division by zero, and steps without a batch."""
    with pytest.raises(ConfigError, match=rf"SOLVER\.{key}: 0, expected 1 or more"):
        scaled_rate(config(**{key: 0}))


@pytest.mark.golden
def test_momentum_steps__reference__one_floor_at_the_end(golden):
    """Catches whole iterations per epoch counted, as the loader does."""
    rows = np.load(golden("pixpro_solver.npz"))["momentum.m0_instances_batch_epochs_K_k_value"]
    for _, samples, batch, epochs, expected, *_ in rows.tolist():
        assert momentum_steps(int(samples), int(batch), epochs) == expected
    assert momentum_steps(1281167, 1024, 100, world_size=8) == 125113


def test_in_iterations__epochs__whole_iterations_each():
    """Catches incomplete batches counted, a warm-up in iterations of another batch, the momentum's steps not set."""
    cfg = config(EPOCHS=10, WARMUP_EPOCHS=2, STEP_EPOCHS=[4, 8.5], IMS_PER_BATCH=8, ACCUMULATE=2)
    done = in_iterations(cfg, 2, lambda cfg: 100)  # 6 steps of 16, 4 samples left over
    assert (done.SOLVER.MAX_ITER, done.SOLVER.WARMUP_ITERS, done.SOLVER.STEPS) == (60, 12, (24, 51))
    assert done.PRETRAIN.MOMENTUM_STEPS == 62  # 100 / 16 · 10
    assert done.is_frozen()
    assert cfg.SOLVER.MAX_ITER != 60  # the one given is as it was
    assert in_iterations(done, 2, lambda cfg: 100).dump() == done.dump()  # config.yaml of a run, read again


def test_in_iterations__momentum_steps_given__stay():
    """Catches a user's number overwritten."""
    cfg = config(EPOCHS=1, IMS_PER_BATCH=8).clone()
    cfg.defrost()
    cfg.PRETRAIN.MOMENTUM_STEPS = 7
    assert in_iterations(cfg, 1, lambda cfg: 100).PRETRAIN.MOMENTUM_STEPS == 7


def test_in_iterations__no_epochs__the_same_object():
    """Catches runs without epochs that change, or that read their data sets twice."""
    cfg = config(MAX_ITER=7)
    assert in_iterations(cfg, 1, lambda cfg: pytest.fail("counted")) is cfg


@pytest.mark.parametrize(
    ("keys", "samples", "words"),
    [
        ({"EPOCHS": 1, "IMS_PER_BATCH": 16}, 15, r"SOLVER\.EPOCHS: 1, but the training sets hold 15 samples.*16"),
        ({"EPOCHS": -1}, 100, r"SOLVER\.EPOCHS: -1"),
        ({"WARMUP_EPOCHS": 5}, 100, r"WARMUP_EPOCHS, STEP_EPOCHS: set, but SOLVER\.EPOCHS is 0"),
        ({"EPOCHS": 1, "ACCUMULATE": 0}, 100, r"SOLVER\.ACCUMULATE: 0"),
    ],
)
def test_in_iterations__impossible__names_the_key(keys, samples, words):
    """Catches a run of no iterations, and a warm-up without effect."""
    with pytest.raises(ConfigError, match=words):
        in_iterations(config(**keys), 1, lambda cfg: samples)
