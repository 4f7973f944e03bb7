"""``load_checkpoint``: fill a model and say what happened to every key."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from dense.checkpoint.reading import find_tensors, read_state_dict
from dense.errors import CheckpointError

__all__ = ["KeyReport", "load_checkpoint"]

logger = logging.getLogger(__name__)

_PREFIXES = ("module.", "_orig_mod.", "model.")


@dataclass(frozen=True)
class KeyReport:
    """What became of the keys.

    Attributes:
        loaded: keys copied into the model.
        unused: keys of the checkpoint that the model does not have.
        missing: keys of the model that the checkpoint does not have; they keep their values.
        mismatched: keys of both with different shapes, as ``(key, checkpoint's shape, model's shape)``; they keep their values.
    """

    loaded: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    mismatched: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)

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


def _without_prefix(tensors: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _PREFIXES:
        if not any(k in own for k in tensors) and all(k.startswith(prefix) for k in tensors):
            tensors = {k.removeprefix(prefix): v for k, v in tensors.items()}
    return tensors


def load_checkpoint(
    model: nn.Module, source: str | os.PathLike[str] | Mapping[str, Tensor], *, strict: bool = False
) -> KeyReport:
    """Copy a checkpoint's tensors into a model where name and shape agree.

    Args:
        model: any module; its values are replaced in place.
        source: a file (see ``dense.checkpoint.reading``) or a state dict; a prefix that wrappers put before every key
            (``module.``, ``model.``, ``_orig_mod.``) is taken off where the model's own names fit without it.
        strict: raise if any key is unused, missing or of another shape.

    Returns: the report of every key.
    Raises: CheckpointError if the file cannot be read, nothing fits, or ``strict`` is violated; the model is then unchanged.
    """
    name = "state dict" if isinstance(source, Mapping) else str(source)
    own = model.state_dict()
    tensors = _without_prefix(find_tensors(source, name) if isinstance(source, Mapping) else read_state_dict(source), own)
    report = KeyReport(
        loaded=[k for k in tensors if k in own and own[k].shape == tensors[k].shape],
        unused=[k for k in tensors if k not in own],
        missing=[k for k in own if k not in tensors],
        mismatched=[
            (k, tuple(v.shape), tuple(own[k].shape)) for k, v in tensors.items() if k in own and own[k].shape != v.shape
        ],
    )
    if not report.loaded:
        raise CheckpointError(f"{name}: no key fits the model ({report.summary()}). Is it a checkpoint of another model?")
    if strict and (report.unused or report.missing or report.mismatched):
        raise CheckpointError(f"{name}: does not fit exactly: {report.summary()}.")
    with torch.no_grad():
        for key in report.loaded:
            own[key].copy_(tensors[key])
    if report.unused or report.missing or report.mismatched:
        logger.warning("%s: %s", name, report.summary())
    return report
