"""Schedules of the learning rate against their formulas."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from dense import load_config
from dense.engine.optimizers import build_optimizer
from dense.engine.schedules import build_schedule
from dense.errors import ConfigError


def rates(*options):
    """The rate of each of ten steps, from a base rate of 1."""
    cfg = load_config(None, ["SOLVER.BASE_LR", 1.0, "SOLVER.MAX_ITER", 10, "SOLVER.WARMUP_ITERS", 0, *options])
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), 1.0)
    schedule = build_schedule(cfg, optimizer)
    found = []
    for _ in range(10):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_build_schedule__poly__power_of_what_is_left():
    """Catches the official semantic files' schedule missing, and POLY_LR_* without effect."""
    options = ["SOLVER.LR_SCHEDULER_NAME", "WarmupPolyLR", "SOLVER.POLY_LR_POWER", 0.9]
    assert rates(*options) == pytest.approx([(1 - step / 10) ** 0.9 for step in range(10)])
    ended = rates(*options, "SOLVER.POLY_LR_CONSTANT_ENDING", 0.5)
    assert ended == pytest.approx([max((1 - step / 10) ** 0.9, 0.5) for step in range(10)])


def test_build_schedule__poly_after_warm_up__joins_without_a_step():
    """Catches a warm-up that is left out or that ends beside the decay."""
    options = ["SOLVER.LR_SCHEDULER_NAME", "WarmupPolyLR", "SOLVER.WARMUP_ITERS", 4, "SOLVER.WARMUP_FACTOR", 0.1]
    found = rates(*options)
    assert found[0] == pytest.approx(0.1)
    steps = [b - a for a, b in pairwise(found[:5])]
    assert steps == pytest.approx([steps[0]] * 4)
    assert found[4:] == pytest.approx([(1 - step / 10) ** 0.9 for step in range(4, 10)])


def test_build_schedule__steps__detectron2s():
    """Catches the schedules of Detectron2 lost behind our own."""
    assert rates("SOLVER.STEPS", (4, 8)) == pytest.approx([1.0] * 4 + [0.1] * 4 + [0.01] * 2)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("SOLVER.LR_SCHEDULER_NAME", "WarmupPoly", "unknown 'WarmupPoly'.*Did you mean 'WarmupPolyLR'"),
        ("SOLVER.STEPS", (8, 4), "cannot be built.*STEPS"),
        ("SOLVER.WARMUP_METHOD", "exponential", "cannot be built.*exponential"),
        ("SOLVER.WARMUP_ITERS", -1, "WARMUP_ITERS: -1"),
        ("SOLVER.MAX_ITER", 0, "MAX_ITER: 0"),
    ],
)
def test_build_schedule__impossible_values__name_the_key(key, value, words):
    """Catches the foreign errors of Detectron2 and fvcore."""
    with pytest.raises(ConfigError, match=words):
        rates(key, value)


def test_build_schedule__cosine_from_rate_zero__raises():
    """Catches a division by zero that says nothing."""
    with pytest.raises(ConfigError, match=r"cannot be built.*BASE_LR"):
        rates("SOLVER.LR_SCHEDULER_NAME", "WarmupCosineLR", "SOLVER.BASE_LR", 0.0)


@pytest.mark.golden
@pytest.mark.parametrize("case", range(4))
def test_build_schedule__pretraining__reference_rate_of_every_iteration(golden, case):
    """Catches a warm-up that ends an iteration early or late, a cosine that counts from 0, a floor relative to the rate."""
    known = np.load(golden("pixpro_solver.npz"))
    base, warmup, multiplier, epochs, epoch = known[f"lr{case}.base_warmupEpochs_multiplier_epochs_itersPerEpoch"].tolist()
    expected = known[f"lr{case}.values"]
    cosine = str(known[f"lr{case}.scheduler"]) == "cosine"
    options = ["SOLVER.LR_SCHEDULER_NAME", "WarmupThenCosineLR" if cosine else "WarmupMultiStepLR"]
    options += ["SOLVER.BASE_LR", base / 4, "SOLVER.LR_SCALING", "linear", "SOLVER.IMS_PER_BATCH", 512, "SOLVER.ACCUMULATE", 2]
    options += ["SOLVER.BASE_LR_END", 1e-6, "SOLVER.WARMUP_FACTOR", 1 / multiplier, "SOLVER.MAX_ITER", int(epochs * epoch)]
    options += ["SOLVER.WARMUP_ITERS", int(warmup * epoch), "SOLVER.STEPS", (int(10 * epoch), int(15 * epoch))]
    options += ["SOLVER.OPTIMIZER", "LARS"] if cosine else ["SOLVER.OPTIMIZER", "SGD", "SOLVER.BACKBONE_MULTIPLIER", 1.0]
    cfg = load_config(None, options)
    optimizer = build_optimizer(cfg, nn.Linear(1, 1))
    schedule = build_schedule(cfg, optimizer)
    found = []
    for _ in expected:
        assert len({group["lr"] for group in optimizer.param_groups}) == 1
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert np.abs(np.array(found) - expected).max() <= 1e-9 * max(1.0, expected.max())


def test_build_schedule__warm_up_longer_than_the_run__only_grows():
    """Catches a cosine of a negative length."""
    options = ["SOLVER.LR_SCHEDULER_NAME", "WarmupThenCosineLR", "SOLVER.WARMUP_ITERS", 20, "SOLVER.WARMUP_FACTOR", 0.0]
    assert rates(*options) == pytest.approx([step / 20 for step in range(10)])
    assert rates(*options, "SOLVER.MAX_ITER", 20)[9] == pytest.approx(9 / 20)


def test_build_schedule__scaled_rate__the_end_stays_absolute():
    """Catches BASE_LR_END multiplied with the batch by Detectron2's cosine."""
    options = ["SOLVER.LR_SCHEDULER_NAME", "WarmupCosineLR", "SOLVER.LR_SCALING", "linear", "SOLVER.IMS_PER_BATCH", 1024]
    options += ["SOLVER.BASE_LR", 1.0]
    cfg = load_config(None, ["SOLVER.MAX_ITER", 10, "SOLVER.WARMUP_ITERS", 0, *options, "SOLVER.BASE_LR_END", 0.5])
    optimizer = build_optimizer(cfg, nn.Linear(1, 1))
    schedule = build_schedule(cfg, optimizer)
    for _ in range(10):
        optimizer.step()
        schedule.step()
    assert schedule.get_last_lr()[0] == pytest.approx(0.5)
