"""ImageNet weights for backbones: from a file, or from an installed package that carries one."""

import importlib.util
from pathlib import Path

import torch
from torch import nn

from dense.checkpoint.reading import read_state_dict
from dense.errors import CheckpointError, DependencyError

__all__ = ["load_in_order", "resolve_weights"]


def resolve_weights(weights: str) -> Path:
    """Path of a weights file.

    Args:
        weights: a file, or ``"package:NAME"``: the one ``.pth`` or ``.safetensors`` file inside an installed package.

    Raises: DependencyError if the package is not installed; CheckpointError if it holds no or several weights files.
    """
    if not weights.startswith("package:"):
        return Path(weights)
    package = weights.removeprefix("package:")
    try:
        spec = importlib.util.find_spec(package.replace("-", "_"))
    except (ImportError, ValueError):  # a name with dots whose first part is missing, or no name
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise DependencyError(f"{weights}: the package is not installed; `pip install {package.replace('_', '-')}` brings it.")
    root = Path(next(iter(spec.submodule_search_locations)))
    files = sorted(p for p in root.rglob("*") if p.suffix in {".pth", ".safetensors"})
    if len(files) != 1:
        raise CheckpointError(f"{weights}: {len(files)} weights files inside {root}, expected one.")
    return files[0]


def load_in_order(module: nn.Module, weights: str) -> None:
    """Copy tensors in the order of both state dicts, whatever their names; a tail (classifier) may be left over.

    Args:
        module: the backbone.
        weights: see ``resolve_weights``.

    Raises: CheckpointError naming the first tensor whose shape differs.
    """
    path = resolve_weights(weights)
    theirs = list(read_state_dict(path).items())
    ours = list(module.state_dict().items())
    if len(theirs) < len(ours):
        raise CheckpointError(f"{path}: {len(theirs)} tensors, the backbone has {len(ours)}.")
    for (name, target), (key, source) in zip(ours, theirs, strict=False):
        if target.shape != source.shape:
            raise CheckpointError(f"{path}: {key} {list(source.shape)} does not fit {name} {list(target.shape)}.")
    with torch.no_grad():
        for (_, target), (_, source) in zip(ours, theirs, strict=False):
            target.copy_(source)
