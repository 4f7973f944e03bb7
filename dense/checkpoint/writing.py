"""Writing checkpoints: to a temporary name, then renamed; a killed run never leaves half a file."""

import hashlib
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from dense.io import atomic_write

__all__ = ["file_hash", "save_detectron2_pickle", "save_training_state", "save_weights"]


def save_weights(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Tensor],
    *,
    dtype: torch.dtype | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a state dict as safetensors.

    Args:
        path: target file.
        tensors: name → tensor.
        dtype: floating-point tensors are stored in this type; ``None`` = as they are.
        metadata: text entries of the header (configuration, hashes, figures).
    """
    plain = {
        k: v.detach().to("cpu", dtype if dtype is not None and v.is_floating_point() else v.dtype).contiguous().clone()
        for k, v in tensors.items()
    }
    data = save(plain, metadata=dict(metadata) if metadata else None)
    with atomic_write(path, "wb") as stream:
        stream.write(data)


def save_training_state(path: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Write a training state (model, optimizer, schedule, step) that ``torch.load(weights_only=True)`` reads back."""
    with atomic_write(path, "wb") as stream:
        torch.save(dict(state), stream)


def save_detectron2_pickle(path: str | os.PathLike[str], tensors: Mapping[str, Tensor]) -> None:
    """Write Detectron2's ``.pkl``: arrays, and the mark that lets Detectron2 match names by their endings."""
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
    with atomic_write(path, "wb") as stream:
        pickle.dump({"model": arrays, "__author__": "dense", "matching_heuristics": True}, stream)


def file_hash(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
