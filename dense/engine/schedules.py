"""The learning rate's course over a run: warm-up, then steps, cosine or polynomial decay."""

import math

import torch
from detectron2.config import CfgNode
from detectron2.solver import LRMultiplier, build_lr_scheduler
from detectron2.solver.lr_scheduler import WarmupParamScheduler
from fvcore.common.param_scheduler import ParamScheduler

from dense.config.checks import check_ranges
from dense.errors import ConfigError
from dense.registry import nearest

__all__ = ["PolynomialDecay", "build_schedule"]

_NAMES = ["WarmupCosineLR", "WarmupMultiStepLR", "WarmupPolyLR", "WarmupStepWithFixedGammaLR"]


class PolynomialDecay(ParamScheduler):
    """Factor ``max((1 - progress) ** power, ending)`` on the base rate (DeepLab v2, §4.1: the "poly" policy)."""

    def __init__(self, power: float, ending: float) -> None:
        self.power, self.ending = power, ending

    def __call__(self, where: float) -> float:
        """The factor at ``where``, the share of the run that is done, in [0, 1]."""
        return float(max((1.0 - where) ** self.power, self.ending))


def build_schedule(cfg: CfgNode, optimizer: torch.optim.Optimizer) -> LRMultiplier:
    """The schedule that SOLVER.LR_SCHEDULER_NAME names: Detectron2's, or WarmupPolyLR of the official semantic segmenters.

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
        if name != "WarmupPolyLR":
            return build_lr_scheduler(cfg, optimizer)  # type: ignore[return-value]
        decay = PolynomialDecay(solver.POLY_LR_POWER, solver.POLY_LR_CONSTANT_ENDING)
        length = min(solver.WARMUP_ITERS / solver.MAX_ITER, 1.0)
        warmed = WarmupParamScheduler(decay, solver.WARMUP_FACTOR, length, solver.WARMUP_METHOD, solver.RESCALE_INTERVAL)
        return LRMultiplier(optimizer, multiplier=warmed, max_iter=solver.MAX_ITER)
    except (ValueError, AssertionError, ArithmeticError) as error:
        reason = str(error) or type(error).__name__
        raise ConfigError(
            f"SOLVER: {name} cannot be built from these values ({reason}). Check STEPS, BASE_LR, BASE_LR_END and WARMUP_*."
        ) from error
