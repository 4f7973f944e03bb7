"""Schedules of the learning rate against their formulas."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from dense import load_config
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
