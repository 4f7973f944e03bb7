"""``load_checkpoint``: fill a model and say what happened to every key."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from dense.checkpoint.converting import fit_to_model
from dense.checkpoint.reading import find_tensors, read_state_dict
from dense.errors import CheckpointError

__all__ = ["CompletesCheckpoints", "KeyReport", "compare", "load_checkpoint"]

logger = logging.getLogger(__name__)


@runtime_checkable
class CompletesCheckpoints(Protocol):
    """A model with parts that begin as copies of other parts, of which a pretraining file holds only one."""

    def completed_checkpoint(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The checkpoint's tensors under the model's names, with those of such parts added where they are missing."""


@dataclass(frozen=True)
class KeyReport:
    """What became of the keys.

    Attributes:
        loaded: keys copied into the model.
        unused: keys of the checkpoint that the model does not have.
        missing: keys of the model that the checkpoint does not have; they keep their values.
        mismatched: keys of both with different shapes, as ``(key, checkpoint's shape, model's shape)``; they keep their values.
        dropped: keys of the checkpoint that its layout keeps for other purposes (classifier, counters of batch norms).
        resized: position tables and patch kernels that were resampled to the model's sizes; they are among ``loaded``.
        layout: ``"ours"``, or whose names the checkpoint had (``dense.checkpoint.converting``).
    """

    loaded: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    mismatched: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    layout: str = "ours"

    def summary(self) -> str:
        """One line: counts, and the first names of what did not fit."""
        parts = [f"{len(self.loaded)} keys loaded"]
        for kind, names in (("unused", self.unused), ("missing", self.missing)):
            if names:
                parts.append(f"{len(names)} {kind} ({_some(names)})")
        if self.mismatched:
            shown = [f"{key} {list(theirs)} instead of {list(ours)}" for key, theirs, ours in self.mismatched]
            parts.append(f"{len(shown)} of another shape ({_some(shown)})")
        return "; ".join(parts)


def _some(names: list[str], count: int = 4) -> str:
    more = f", … {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more


def compare(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], **facts: Any) -> KeyReport:  # noqa: ANN401
    """Report what would become of a state dict's keys in a model.

    Args:
        tensors: the checkpoint's, under the model's names.
        own: the model's.
        facts: what else is known: ``dropped``, ``resized``, ``layout``.
    """
    return KeyReport(
        loaded=[k for k in tensors if k in own and own[k].shape == tensors[k].shape],
        unused=[k for k in tensors if k not in own],
        missing=[k for k in own if k not in tensors],
        mismatched=[
            (k, tuple(v.shape), tuple(own[k].shape)) for k, v in tensors.items() if k in own and own[k].shape != v.shape
        ],
        **facts,
    )


def load_checkpoint(
    model: nn.Module, source: str | os.PathLike[str] | Mapping[str, Tensor], *, strict: bool = False
) -> KeyReport:
    """Copy a checkpoint's tensors into a model where name and shape agree.

    Args:
        model: any module; its values are replaced in place.
        source: a file (see ``dense.checkpoint.reading``) or a state dict, in any layout of ``dense.checkpoint.converting``; a
            prefix that wrappers put before every key (``module.``, ``model.``, ``_orig_mod.``) is taken off where the model's
            own names fit without it.
        strict: raise if any key is unused, missing or of another shape.

    Returns: the report of every key.
    Raises: CheckpointError if the file cannot be read, nothing fits, or ``strict`` is violated; the model is then unchanged.
    """
    name = "state dict" if isinstance(source, Mapping) else str(source)
    own = model.state_dict()
    fit = fit_to_model(find_tensors(source, name) if isinstance(source, Mapping) else read_state_dict(source), own)
    tensors = model.completed_checkpoint(fit.tensors) if isinstance(model, CompletesCheckpoints) else fit.tensors
    report = compare(tensors, own, dropped=fit.dropped, resized=fit.resized, layout=fit.layout)
    if not report.loaded:
        raise CheckpointError(f"{name}: no key fits the model ({report.summary()}). Is it a checkpoint of another model?")
    if strict and (report.unused or report.missing or report.mismatched):
        raise CheckpointError(f"{name}: does not fit exactly: {report.summary()}.")
    with torch.no_grad():
        for key in report.loaded:
            own[key].copy_(tensors[key])
    if report.layout != "ours":
        logger.info("%s: has the %s layout; %s", name, report.layout, report.summary())
    if report.unused or report.missing or report.mismatched:
        logger.warning("%s: %s", name, report.summary())
    return report
