"""Losses on whole views beside, or instead of, the pixel loss (spec, section 7.3).

``InstanceConsistency`` is the official branch: BYOL's, against the momentum copy. Every entry of the registry
``dense.modeling.objectives.OBJECTIVES`` serves as well, on the pooled projections of the online network.
"""

from collections.abc import Sequence

from detectron2.config import CfgNode
from torch import Tensor, nn
from torch.nn import functional as F

from dense.errors import ConfigError
from dense.modeling.objectives import build_objective, objective_node
from dense.modeling.registries import OBJECTIVES

__all__ = ["InstanceConsistency", "RegisteredObjective", "build_instance_objective", "instance_node", "pooled"]

_OFFICIAL = "InstanceConsistency"


def pooled(maps: Tensor) -> Tensor:
    """``(N, C, H, W)`` → ``(N, C)``, mean over the positions; float32 at least."""
    return (maps if maps.element_size() > 2 else maps.float()).mean((2, 3))


class InstanceConsistency(nn.Module):
    """−2·cos of each view's prediction and the other view's target, over the images; in [−4, 4]."""

    against_target = True

    def forward(self, online: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
        """Predictions and target projections of the two views, each ``(N, C)`` → scalar."""
        (p1, p2), (t1, t2) = ([F.normalize(x, dim=1, eps=1e-12) for x in views] for views in (online[:2], target))
        return -2 * (p1 * t2).sum(1).mean() - 2 * (p2 * t1).sum(1).mean()

    def begin_step(self, step: int) -> None:
        """Nothing here depends on the step."""

    def want_figures(self, flag: bool) -> None:
        """There are none."""

    def figures(self) -> dict[str, float]:
        """Nothing beside the loss."""
        return {}


class RegisteredObjective(nn.Module):
    """Any contrastive objective of the library on the online projections of the views; its state is saved with the model."""

    against_target = False

    def __init__(self, objective: nn.Module) -> None:
        super().__init__()
        self.objective = objective
        self._terms: dict[str, Tensor] = {}

    def forward(self, online: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
        """Projections of the views, small crops last, each ``(N, C)`` → scalar."""
        output = self.objective(list(online))
        self._terms = {**output.terms, **output.diagnostics}
        loss: Tensor = output.loss
        return loss

    def begin_step(self, step: int) -> None:
        """Tell the objective which step, from 0, comes next, if it wants to know."""
        follow = getattr(self.objective, "begin_step", None)
        if follow is not None:
            follow(step)
        elif isinstance(getattr(self.objective, "step", None), Tensor):
            self.objective.step.fill_(step)  # type: ignore[operator, union-attr]

    def want_figures(self, flag: bool) -> None:
        """Whether the next call shall compute its diagnostics."""
        self.objective.want_figures(flag)  # type: ignore[operator]

    def figures(self) -> dict[str, float]:
        """Terms and diagnostics of the last call."""
        return {name: float(value) for name, value in self._terms.items()}


def build_instance_objective(cfg: CfgNode) -> InstanceConsistency | RegisteredObjective:
    """What PRETRAIN.INSTANCE.NAME names. Raises: ConfigError for an unknown name."""
    name = cfg.PRETRAIN.INSTANCE.NAME
    if name == _OFFICIAL:
        return InstanceConsistency()
    if name not in OBJECTIVES:
        raise ConfigError(f"PRETRAIN.INSTANCE.NAME: unknown {name!r}. Known: {', '.join([_OFFICIAL, *OBJECTIVES])}.")
    node = cfg.PRETRAIN.INSTANCE.clone()
    node.defrost()
    node.DIM = cfg.PRETRAIN.PROJECTOR_OUT  # of queues and prototypes
    return RegisteredObjective(build_objective(node))


def instance_node() -> CfgNode:
    """Keys of PRETRAIN.INSTANCE: NAME "", WEIGHT 1, and those of every objective."""
    return objective_node()
