"""Optimizer with one group per parameter (weight decay and learning rate by kind of module) and gradient clipping."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

from dense.config.checks import Range, check_ranges
from dense.errors import ConfigError
from dense.registry import nearest

__all__ = ["build_optimizer", "gradient_clipper", "parameter_groups"]

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
}
_POSITION_TABLES = ("relative_position_bias_table", "absolute_pos_embed")


def parameter_groups(cfg: CfgNode, model: nn.Module) -> Iterator[dict[str, Any]]:
    """One group per trainable parameter with its ``lr`` and ``weight_decay`` (Mask2Former, §4.1 and appendix).

    "backbone" in the module path multiplies the rate by SOLVER.BACKBONE_MULTIPLIER; norms and embeddings have decays of their
    own; position tables do not decay.
    """
    solver = cfg.SOLVER
    seen: set[int] = set()
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad or id(parameter) in seen:
                continue
            seen.add(id(parameter))
            decay = solver.WEIGHT_DECAY
            if isinstance(module, _NORMS):
                decay = solver.WEIGHT_DECAY_NORM
            elif isinstance(module, nn.Embedding):
                decay = solver.WEIGHT_DECAY_EMBED
            elif any(table in name for table in _POSITION_TABLES):
                decay = 0.0
            rate = solver.BASE_LR * (solver.BACKBONE_MULTIPLIER if "backbone" in path else 1.0)
            yield {"params": [parameter], "lr": rate, "weight_decay": decay}


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """AdamW or SGD after SOLVER.*.

    Raises: ConfigError for another name, a negative rate or decay, or a model without trainable parameters.
    """
    check_ranges(cfg, _RANGES)
    groups = _merged(parameter_groups(cfg, model))
    if not groups:
        raise ConfigError("model: no trainable parameter. Is everything frozen?")
    kind = cfg.SOLVER.OPTIMIZER.upper()
    if kind == "ADAMW":
        return torch.optim.AdamW(groups, cfg.SOLVER.BASE_LR)
    if kind == "SGD":
        if cfg.SOLVER.NESTEROV and not cfg.SOLVER.MOMENTUM:
            raise ConfigError("SOLVER.NESTEROV: True, but SOLVER.MOMENTUM is 0. Set a momentum or leave it out.")
        return torch.optim.SGD(groups, cfg.SOLVER.BASE_LR, momentum=cfg.SOLVER.MOMENTUM, nesterov=cfg.SOLVER.NESTEROV)
    raise ConfigError(f"SOLVER.OPTIMIZER: unknown {cfg.SOLVER.OPTIMIZER!r}.{nearest(kind, ['ADAMW', 'SGD'])}")


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
