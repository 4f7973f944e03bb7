"""How long a run is and how fast it learns: epochs as iterations, the rate's rule for other batch sizes."""

import logging
import math
from collections.abc import Callable

from detectron2.config import CfgNode

from dense.config.checks import Range, check_choice, check_ranges
from dense.errors import ConfigError

__all__ = ["in_iterations", "momentum_steps", "scaled_rate", "step_batch"]

logger = logging.getLogger(__name__)

_RULES: dict[str, Callable[[float], float]] = {"none": lambda ratio: 1.0, "linear": lambda ratio: ratio, "sqrt": math.sqrt}
_RANGES: dict[str, Range] = {
    "SOLVER.IMS_PER_BATCH": (1, math.inf),
    "SOLVER.ACCUMULATE": (1, math.inf),
    "SOLVER.LR_REFERENCE_BATCH": (1, math.inf),
}
_EPOCHS: dict[str, Range] = {"SOLVER.EPOCHS": (0, 1e6), "SOLVER.WARMUP_EPOCHS": (0, 1e6)}


def step_batch(cfg: CfgNode) -> int:
    """Samples of one optimizer step, over all processes and accumulated batches. Raises: ConfigError."""
    check_ranges(cfg, _RANGES)
    return int(cfg.SOLVER.IMS_PER_BATCH * cfg.SOLVER.ACCUMULATE)


def scaled_rate(cfg: CfgNode) -> float:
    """SOLVER.BASE_LR after the rule SOLVER.LR_SCALING for the step's batch over SOLVER.LR_REFERENCE_BATCH.

    ``linear`` is that of Goyal et al. (arXiv 1706.02677); ``sqrt`` is what PixPro's authors advise for smaller batches than
    theirs (repository, issue 5).
    Raises: ConfigError for an unknown rule or an impossible batch.
    """
    solver = cfg.SOLVER
    rule = _RULES[check_choice("SOLVER.LR_SCALING", solver.LR_SCALING, list(_RULES))]
    return float(solver.BASE_LR * rule(step_batch(cfg) / solver.LR_REFERENCE_BATCH))


def momentum_steps(samples: int, batch: int, epochs: float, world_size: int = 1) -> int:
    """Steps over which a momentum encoder's momentum goes to 1: ``⌊samples / processes / (batch of each) · epochs⌋``.

    One floor at the end: a little more than the run's iterations, of which each epoch has a whole number.

    Args:
        samples: length of the training set.
        batch: samples of a step over all processes.
        epochs: length of the run.
        world_size: number of processes.
    """
    return int(samples / world_size / (batch // world_size) * epochs)


def in_iterations(cfg: CfgNode, world_size: int = 1, length: Callable[[CfgNode], int] | None = None) -> CfgNode:
    """The configuration with SOLVER.MAX_ITER, WARMUP_ITERS and STEPS set from SOLVER.EPOCHS, WARMUP_EPOCHS and STEP_EPOCHS.

    An epoch is ``⌊samples / samples of a step⌋`` iterations. PRETRAIN.MOMENTUM_STEPS is set too where it is 0.

    Args:
        cfg: unchanged; the same object comes back where SOLVER.EPOCHS is 0.
        world_size: number of processes.
        length: samples of the training sets; ``None`` = counts those of DATASETS.TRAIN.

    Raises: ConfigError for impossible numbers, or fewer samples than one step takes.
    """
    check_ranges(cfg, _EPOCHS)
    solver = cfg.SOLVER
    if not solver.EPOCHS:
        if solver.WARMUP_EPOCHS or solver.STEP_EPOCHS:
            raise ConfigError(
                "SOLVER.WARMUP_EPOCHS, STEP_EPOCHS: set, but SOLVER.EPOCHS is 0. Set it, or WARMUP_ITERS and STEPS."
            )
        return cfg
    samples, batch = (length or _training_set_length)(cfg), step_batch(cfg)
    if samples < batch:
        raise ConfigError(
            f"SOLVER.EPOCHS: {solver.EPOCHS:g}, but the training sets hold {samples} samples and one step takes {batch}."
            " Take a smaller SOLVER.IMS_PER_BATCH or ACCUMULATE, or give SOLVER.MAX_ITER with EPOCHS 0."
        )
    epoch = samples // batch
    done = cfg.clone()
    done.defrost()
    done.SOLVER.MAX_ITER = max(int(solver.EPOCHS * epoch), 1)
    done.SOLVER.WARMUP_ITERS = int(solver.WARMUP_EPOCHS * epoch)
    if solver.STEP_EPOCHS:
        done.SOLVER.STEPS = tuple(int(number * epoch) for number in solver.STEP_EPOCHS)
    if "PRETRAIN" in done and not done.PRETRAIN.MOMENTUM_STEPS:
        done.PRETRAIN.MOMENTUM_STEPS = momentum_steps(samples, batch, solver.EPOCHS, world_size)
    done.freeze()
    return done


def _training_set_length(cfg: CfgNode) -> int:
    from dense.data.loaders import config as loaders

    return int(loaders.training_set_length(cfg))  # type: ignore[attr-defined,unused-ignore]
