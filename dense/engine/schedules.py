"""The learning rate's course over a run: warm-up, then steps, cosine or polynomial decay."""

import math

import torch
from detectron2.config import CfgNode
from detectron2.solver import LRMultiplier, build_lr_scheduler
from detectron2.solver.lr_scheduler import WarmupParamScheduler
from fvcore.common.param_scheduler import ParamScheduler

from dense.config.checks import check_ranges
from dense.engine.run_length import scaled_rate
from dense.errors import ConfigError
from dense.registry import nearest

__all__ = ["PolynomialDecay", "WarmupThenCosine", "build_schedule"]

_NAMES = [
    "WarmupCosineLR",
    "WarmupMultiStepLR",
    "WarmupPolyLR",
    "WarmupStepWithFixedGammaLR",
    "WarmupThenCosineLR",
]


class PolynomialDecay(ParamScheduler):
    """Factor ``max((1 - progress) ** power, ending)`` on the base rate (DeepLab v2, §4.1: the "poly" policy)."""

    def __init__(self, power: float, ending: float) -> None:
        self.power, self.ending = power, ending

    def __call__(self, where: float) -> float:
        """The factor at ``where``, the share of the run that is done, in [0, 1]."""
        return float(max((1.0 - where) ** self.power, self.ending))


class WarmupThenCosine(ParamScheduler):
    """Factor that grows linearly to 1 over the warm-up, then falls by half a cosine from there to the end (PixPro's schedule).

    Detectron2's cosine counts from the run's beginning instead, so that it is past its top when the warm-up ends.

    Args:
        warmup: iterations of the warm-up.
        total: iterations of the run.
        start: factor of the first iteration; unused without warm-up.
        ending: factor that the cosine comes to.
    """

    def __init__(self, warmup: int, total: int, start: float, ending: float) -> None:
        self.warmup, self.total, self.start, self.ending = warmup, total, start, ending

    def __call__(self, where: float) -> float:
        """The factor at ``where``, the share of the run that is done, in [0, 1]."""
        t = where * self.total
        if self.warmup and t <= self.warmup:
            return self.start + (1 - self.start) * t / self.warmup
        done = (t - self.warmup) / (self.total - self.warmup)
        return self.ending + (1 - self.ending) * (1 + math.cos(math.pi * done)) / 2


def build_schedule(cfg: CfgNode, optimizer: torch.optim.Optimizer) -> LRMultiplier:
    """The schedule that SOLVER.LR_SCHEDULER_NAME names.

    Detectron2's; WarmupPolyLR of the official semantic segmenters; WarmupThenCosineLR of PixPro, whose warm-up begins at
    SOLVER.WARMUP_FACTOR and whose cosine ends at the rate SOLVER.BASE_LR_END.
    Raises: ConfigError for another name, or values of SOLVER.* that make no schedule.
    """
    solver = cfg.SOLVER
    name = solver.LR_SCHEDULER_NAME
    if name not in _NAMES:
        raise ConfigError(f"SOLVER.LR_SCHEDULER_NAME: unknown {name!r}.{nearest(name, _NAMES)}")
    check_ranges(
        cfg, {"SOLVER.MAX_ITER": (1, math.inf), "SOLVER.WARMUP_ITERS": (0, math.inf), "SOLVER.POLY_LR_POWER": (0, math.inf)}
    )
    try:
        if name == "WarmupPolyLR":
            decay = PolynomialDecay(solver.POLY_LR_POWER, solver.POLY_LR_CONSTANT_ENDING)
            length = min(solver.WARMUP_ITERS / solver.MAX_ITER, 1.0)
            return _over_the_run(
                cfg,
                optimizer,
                WarmupParamScheduler(decay, solver.WARMUP_FACTOR, length, solver.WARMUP_METHOD, solver.RESCALE_INTERVAL),
            )
        rate = scaled_rate(cfg)
        if name == "WarmupThenCosineLR":
            ending = solver.BASE_LR_END / rate
            course = WarmupThenCosine(solver.WARMUP_ITERS, solver.MAX_ITER, solver.WARMUP_FACTOR, ending)
            return _over_the_run(cfg, optimizer, course)
        scaled = cfg.clone()
        scaled.defrost()
        scaled.SOLVER.BASE_LR = rate  # BASE_LR_END is absolute
        return build_lr_scheduler(scaled, optimizer)  # type: ignore[return-value]
    except (ValueError, AssertionError, ArithmeticError) as error:
        reason = str(error) or type(error).__name__
        raise ConfigError(
            f"SOLVER: {name} cannot be built from these values ({reason}). Check STEPS, BASE_LR, BASE_LR_END and WARMUP_*."
        ) from error


def _over_the_run(cfg: CfgNode, optimizer: torch.optim.Optimizer, course: ParamScheduler) -> LRMultiplier:
    return LRMultiplier(optimizer, multiplier=course, max_iter=cfg.SOLVER.MAX_ITER)
