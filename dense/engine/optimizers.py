"""Optimizers and their groups (weight decay and learning rate by kind of module; LARS: by dimensions); gradient clipping."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, runtime_checkable

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

from dense.config.checks import Range, check_ranges
from dense.engine.lars import LARS
from dense.engine.run_length import scaled_rate
from dense.errors import ConfigError
from dense.registry import nearest

__all__ = ["ExemptsFromDecay", "build_optimizer", "gradient_clipper", "lars_groups", "parameter_groups"]

_NORMS = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.GroupNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.LayerNorm,
    nn.LocalResponseNorm,
)
_RANGES: dict[str, Range] = {
    "SOLVER.BASE_LR": (0, math.inf),
    "SOLVER.BACKBONE_MULTIPLIER": (0, math.inf),
    "SOLVER.WEIGHT_DECAY": (0, math.inf),
    "SOLVER.WEIGHT_DECAY_NORM": (0, math.inf),
    "SOLVER.WEIGHT_DECAY_EMBED": (0, math.inf),
    "SOLVER.MOMENTUM": (0, math.inf),
    "SOLVER.LARS.TRUST": (0, math.inf),
    "SOLVER.LARS.EPS": (0, math.inf),
}
_KINDS = ["ADAMW", "SGD", "LARS"]
_POSITION_TABLES = ("relative_position_bias_table", "absolute_pos_embed")


@runtime_checkable
class ExemptsFromDecay(Protocol):
    """A model that says itself which of its parameters have no weight decay."""

    def undecayed_parameters(self) -> Iterable[nn.Parameter]:
        """Those parameters; the others follow the rules of ``parameter_groups``."""


def parameter_groups(cfg: CfgNode, model: nn.Module) -> Iterator[dict[str, Any]]:
    """One group per trainable parameter with its ``lr`` and ``weight_decay`` (Mask2Former, §4.1 and appendix).

    "backbone" in the module path multiplies the rate by SOLVER.BACKBONE_MULTIPLIER; norms and embeddings have decays of their
    own, and so have other parameters of fewer than two dimensions (biases, temperatures) if SOLVER.WEIGHT_DECAY_BIAS is set;
    position tables do not decay, nor what the model exempts (``ExemptsFromDecay``).
    """
    exempt = {id(p) for p in model.undecayed_parameters()} if isinstance(model, ExemptsFromDecay) else set()
    solver, base = cfg.SOLVER, scaled_rate(cfg)
    seen: set[int] = set()
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad or id(parameter) in seen:
                continue
            seen.add(id(parameter))
            decay = solver.WEIGHT_DECAY
            if id(parameter) in exempt or any(table in name for table in _POSITION_TABLES):
                decay = 0.0
            elif isinstance(module, _NORMS):
                decay = solver.WEIGHT_DECAY_NORM
            elif isinstance(module, nn.Embedding):
                decay = solver.WEIGHT_DECAY_EMBED
            elif parameter.dim() < 2 and solver.WEIGHT_DECAY_BIAS is not None:
                decay = solver.WEIGHT_DECAY_BIAS
            rate = base * (solver.BACKBONE_MULTIPLIER if "backbone" in path else 1.0)
            yield {"params": [parameter], "lr": rate, "weight_decay": decay}


def lars_groups(cfg: CfgNode, model: nn.Module) -> list[dict[str, Any]]:
    """Group 0: trainable parameters with one dimension, without decay and scaling; group 1: the rest. One rate for both."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    vectors, rest = [p for p in trained if p.dim() == 1], [p for p in trained if p.dim() != 1]
    return [
        {"params": vectors, "weight_decay": 0.0, "scaled": False},
        {"params": rest, "weight_decay": cfg.SOLVER.WEIGHT_DECAY, "scaled": True},
    ]


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """AdamW, SGD or LARS after SOLVER.*; the rate is that of ``run_length.scaled_rate``.

    Raises: ConfigError for another name, a negative rate or decay, or a model without trainable parameters.
    """
    check_ranges(cfg, _RANGES)
    solver, rate = cfg.SOLVER, scaled_rate(cfg)
    kind = solver.OPTIMIZER.upper()
    if kind not in _KINDS:
        raise ConfigError(f"SOLVER.OPTIMIZER: unknown {solver.OPTIMIZER!r}.{nearest(kind, _KINDS)}")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError("model: no trainable parameter. Is everything frozen?")
    if kind == "LARS":
        keys = solver.LARS
        return LARS(lars_groups(cfg, model), rate, momentum=solver.MOMENTUM, trust=keys.TRUST, eps=keys.EPS)
    groups = _merged(parameter_groups(cfg, model))
    if kind == "ADAMW":
        return torch.optim.AdamW(groups, rate, betas=_betas(cfg))
    if solver.NESTEROV and not solver.MOMENTUM:
        raise ConfigError("SOLVER.NESTEROV: True, but SOLVER.MOMENTUM is 0. Set a momentum or leave it out.")
    return torch.optim.SGD(groups, rate, momentum=solver.MOMENTUM, nesterov=solver.NESTEROV)


def _betas(cfg: CfgNode) -> tuple[float, float]:
    betas = tuple(cfg.SOLVER.BETAS)
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise ConfigError(f"SOLVER.BETAS: {betas}, expected two numbers from 0 to below 1.")
    return betas  # type: ignore[return-value]


def _merged(groups: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Groups of equal settings joined: the same updates in fewer, larger steps."""
    joined: dict[tuple[float, float], dict[str, Any]] = {}
    for group in groups:
        key = (group["lr"], group["weight_decay"])
        joined.setdefault(key, {**group, "params": []})["params"] += group["params"]
    return list(joined.values())


def gradient_clipper(cfg: CfgNode) -> Callable[[list[Tensor]], Tensor | None]:
    """A function that clips the gradients of parameters in place and returns their norm where one is computed.

    SOLVER.CLIP_GRADIENTS.CLIP_TYPE: ``full_model`` (one norm over all), ``norm`` (each parameter) or ``value``.
    """
    keys = cfg.SOLVER.CLIP_GRADIENTS
    limit, norm = keys.CLIP_VALUE, keys.NORM_TYPE
    if not keys.ENABLED:
        return lambda parameters: None

    def whole(parameters: list[Tensor]) -> Tensor | None:
        return torch.nn.utils.clip_grad_norm_(parameters, limit, norm)

    def each(parameters: list[Tensor]) -> Tensor | None:
        for parameter in parameters:
            torch.nn.utils.clip_grad_norm_(parameter, limit, norm)
        return None

    def value(parameters: list[Tensor]) -> Tensor | None:
        torch.nn.utils.clip_grad_value_(parameters, limit)
        return None

    kinds: dict[str, Callable[[list[Tensor]], Tensor | None]] = {"full_model": whole, "norm": each, "value": value}
    if keys.CLIP_TYPE not in kinds:
        raise ConfigError(f"SOLVER.CLIP_GRADIENTS.CLIP_TYPE: unknown {keys.CLIP_TYPE!r}.{nearest(keys.CLIP_TYPE, list(kinds))}")
    return kinds[keys.CLIP_TYPE]
