"""What every objective shares: the call, its checks, unit rows, gathering, temperature and diagnostics."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

from dense.errors import ConfigError, DataError
from dense.modeling.objectives.batch import Batch
from dense.modeling.objectives.checking import check_flags, check_mask, check_views, check_weights, unit_rows
from dense.modeling.objectives.diagnostics import summary
from dense.modeling.objectives.gathering import row_counts, world_size
from dense.modeling.objectives.temperature import Temperature
from dense.registry import nearest

__all__ = ["Objective", "ObjectiveOutput"]


@dataclass(frozen=True)
class ObjectiveOutput:
    """What an objective returns.

    Attributes:
        loss: scalar, float32 or float64.
        terms: every named part as a detached scalar, before its weight.
        diagnostics: detached scalars (``dense.modeling.objectives.diagnostics``), empty in most calls.
    """

    loss: Tensor
    terms: dict[str, Tensor]
    diagnostics: dict[str, Tensor] = field(default_factory=dict)


class Objective(nn.Module):
    """A loss over embeddings of several views; row i of every view belongs to the same sample.

    Sub-classes implement ``compute`` and say how many views they take and which further inputs.

    Args:
        temperature: τ, see ``Temperature``.
        learn_temperature: make it a parameter.
        normalise: bring rows to unit length; False = they are already.
        gather: "grad" = columns of all processes, with gradient; "none" = own columns only.
        chunk_size: columns per block of a similarity matrix; 0 = dense.
        diag_period: diagnostics every so many training calls; 0 = never.

    Raises: ConfigError for a value outside its range.
    """

    least_views, most_views = 2, 2  # type: int, int | None
    takes_mask, takes_visible = True, False
    inputs: frozenset[str] = frozenset()  # names of further inputs
    compute: Callable[..., tuple[Tensor, dict[str, Tensor]]]  # of a Batch and the further inputs: loss and its named parts
    step: Tensor

    def __init__(
        self,
        *,
        temperature: float = 0.1,
        learn_temperature: bool = False,
        normalise: bool = True,
        gather: str = "grad",
        chunk_size: int = 0,
        diag_period: int = 0,
    ) -> None:
        super().__init__()
        if gather not in ("none", "grad"):
            raise ConfigError(f"gather: {gather!r}, expected 'none' or 'grad'.")
        if chunk_size < 0 or diag_period < 0:
            raise ConfigError(f"chunk_size {chunk_size}, diag_period {diag_period}: expected 0 or more.")
        self.temperature = Temperature(temperature, learn=learn_temperature)
        self.normalise, self.gather = normalise, gather
        self.chunk_size, self.diag_period = chunk_size, diag_period
        self.register_buffer("step", torch.zeros((), dtype=torch.long))
        self._calls = 0
        self._wanted: bool | None = None

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Arguments from a node of ``objective_node``'s keys; sub-classes add theirs."""
        return {
            "temperature": cfg.TEMPERATURE,
            "learn_temperature": cfg.LEARN_TEMPERATURE,
            "gather": cfg.GATHER,
            "chunk_size": cfg.CHUNK_SIZE,
            "diag_period": cfg.DIAG_PERIOD,
        }

    def begin_step(self, step: int) -> None:
        """Say which step of the optimiser comes, from 0 on; what depends on it reads the buffer ``step``."""
        self.step.fill_(step)

    def want_figures(self, flag: bool) -> None:
        """Give diagnostics in every training call from now on, or in none, instead of every ``diag_period``-th."""
        self._wanted = flag

    def forward(
        self,
        views: Sequence[Tensor],
        *,
        weights: Tensor | None = None,
        mask: Tensor | None = None,
        visible: Tensor | None = None,
        labels: Tensor | None = None,
        **extra: Tensor | Sequence[Tensor],
    ) -> ObjectiveOutput:
        """Loss of B samples of this process (spec of the terms: the class).

        Args:
            views: V matrices ``(B, D)`` of embeddings.
            weights: ``(B,)``, 0 or more; the loss is Σ w·ℓ / Σ w over all processes, and 0 if all are 0.
            mask: ``(B, N)`` bool over the N samples of all processes, True = keep as a negative.
            visible: ``(V, B)`` bool: views that exist.
            labels: ``(B,)`` integers, for multi-positive forms and the tolerance.
            **extra: further inputs of the objective, by name.

        Raises: DataError or NonFiniteError naming argument and shape.
        """
        with torch.autocast(views[0].device.type if len(views) else "cpu", enabled=False):  # half precision overflows in exp
            batch = self._batch(views, weights, mask, visible, labels)
            self._check_extra(extra)
            loss, terms = self.compute(batch, **extra)
            diagnostics = self._diagnostics(batch)
        return ObjectiveOutput(loss, {name: term.detach() for name, term in terms.items()}, diagnostics)

    def diagnose(self, batch: Batch) -> dict[str, Tensor]:
        """Diagnostics of one batch; see ``diagnostics.summary``."""
        return summary(batch.views, batch.scale, labels=batch.labels, seed=int(self.step))

    def _diagnostics(self, batch: Batch) -> dict[str, Tensor]:
        if not self.training:
            return {}
        due = self.diag_period > 0 and self._calls % self.diag_period == 0
        self._calls += 1
        if not (due if self._wanted is None else self._wanted):
            return {}
        with torch.no_grad():
            return self.diagnose(batch) | {"temperature": 1 / batch.scale.detach()}

    def _batch(
        self,
        views: Sequence[Tensor],
        weights: Tensor | None,
        mask: Tensor | None,
        visible: Tensor | None,
        labels: Tensor | None,
    ) -> Batch:
        name = type(self).__name__
        check_views(views, name, self.least_views, self.most_views)
        size = len(views[0])
        counts = row_counts(size, views[0].device) if self.gather == "grad" else [size]
        first = sum(counts[: torch.distributed.get_rank()]) if len(counts) > 1 else 0
        if sum(counts) < 2:
            raise DataError(f"views: {sum(counts)} sample of {tuple(views[0].shape)}, {name} needs 2 or more to compare.")
        if visible is not None:
            if not self.takes_visible:
                raise DataError(f"visible: {name} has no form for missing views; leave those samples out.")
            check_flags(visible, "visible", (len(views), size))
        if mask is not None:
            if not self.takes_mask:
                raise DataError(f"mask: {name} has no pairs of samples to leave out.")
            check_mask(mask, size, sum(counts), first)
        if labels is not None and labels.shape != (size,):
            raise DataError(f"labels: shape {tuple(labels.shape)}, expected ({size},), one per sample.")
        rows = [
            unit_rows(view, f"views[{v}]", self.normalise, None if visible is None else visible[v])
            for v, view in enumerate(views)
        ]
        weights = check_weights(weights, rows[0])
        return Batch(
            rows, weights, self.temperature(rows[0]), self.chunk_size, counts, first, mask=mask, visible=visible, labels=labels
        )

    def _check_extra(self, extra: dict[str, Any]) -> None:
        for name in extra:
            if name not in self.inputs:
                raise DataError(f"{name}: {type(self).__name__} takes no such input.{nearest(name, list(self.inputs))}")

    @property
    def distributed(self) -> bool:
        """Whether rows of other processes take part."""
        return self.gather == "grad" and world_size() > 1
