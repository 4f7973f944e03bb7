"""Reading checkpoints of strangers: no code inside them is ever run."""

import io
import os
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from dense.errors import CheckpointError

__all__ = ["read_checkpoint", "read_state_dict"]

_ARRAY_PARTS = {
    ("collections", "OrderedDict"): OrderedDict,
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
}


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Tensors of a checkpoint by name.

    Args:
        path: ``.safetensors``, ``.pth`` / ``.pt`` (a state dict, or one under ``model``, ``state_dict``, ``ema``) or Detectron2's ``.pkl``.

    Returns: name → CPU tensor; a ``module.`` prefix of data-parallel training is taken off.
    Raises: CheckpointError for anything else.
    """
    content = read_checkpoint(path)
    for key in ("model", "state_dict", "model_state_dict"):
        if isinstance(content.get(key), Mapping):
            content = content[key]
            break
    tensors = {str(k): _tensor(v) for k, v in content.items() if isinstance(v, Tensor | np.ndarray)}
    if not tensors:
        raise CheckpointError(f"{path}: holds no tensors (keys: {', '.join(map(str, list(content)[:6]))}). Expected a state dict.")
    if all(k.startswith("module.") for k in tensors):
        tensors = {k.removeprefix("module."): v for k, v in tensors.items()}
    return tensors


def read_checkpoint(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    """The whole content of a checkpoint (mapping).

    Raises: CheckpointError if the file is missing, empty, truncated, no checkpoint, or asks for code to run.
    """
    source = Path(path)
    try:
        size = source.stat().st_size
    except OSError as error:
        raise CheckpointError(f"{source}: cannot be read ({error.strerror or error}).") from error
    if source.is_dir():
        raise CheckpointError(f"{source}: is a folder, expected a checkpoint file.")
    if size == 0:
        raise CheckpointError(f"{source}: is empty (0 bytes). Expected a checkpoint file.")
    if source.suffix == ".safetensors":
        content: Any = _read_safetensors(source)
    elif source.suffix == ".pkl":
        content = _read_pickle(source)
    else:
        content = _read_torch(source)
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{source}: holds a {type(content).__name__}, expected a state dict.")
    return content


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: is no readable safetensors file ({str(error).splitlines()[0]}). Download it again.") from error


def _read_torch(path: Path) -> Any:  # noqa: ANN401  a checkpoint can hold anything
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: is no checkpoint of tensors and plain containers; anything that would run code is refused."
            f" ({_first_reason(error)})"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, TypeError, IndexError) as error:
        raise CheckpointError(f"{path}: is no readable checkpoint ({_first_reason(error)}). Download it again.") from error


def _first_reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]


class _ArraysOnly(pickle.Unpickler):
    """Unpickler that knows NumPy arrays and containers and nothing else."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401
        if name == "_reconstruct" and module in {"numpy.core.multiarray", "numpy._core.multiarray"}:
            return _reconstruct
        if name == "scalar" and module in {"numpy.core.multiarray", "numpy._core.multiarray"}:
            return _scalar
        if (module, name) == ("_codecs", "encode"):
            return _latin1
        entry = _ARRAY_PARTS.get((module, name))
        if entry is None:
            raise pickle.UnpicklingError(f"{module}.{name} is neither an array nor a container")
        return entry

    def persistent_load(self, pid: object) -> object:
        raise pickle.UnpicklingError(f"persistent id {pid!r} is not supported")


def _reconstruct(subtype: type, shape: tuple[int, ...], dtype: bytes) -> np.ndarray:
    if subtype is not np.ndarray:
        raise pickle.UnpicklingError("only plain NumPy arrays are read")
    return np.ndarray.__new__(np.ndarray, shape, dtype)


def _scalar(dtype: np.dtype, data: bytes) -> object:
    if dtype.hasobject:
        raise pickle.UnpicklingError("object scalars are refused")
    return np.frombuffer(data, dtype)[0]


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding!r} is not supported")
    return text.encode("latin1")


def _read_pickle(path: Path) -> Any:  # noqa: ANN401
    try:
        return _ArraysOnly(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except Exception as error:  # noqa: BLE001  hostile bytes can raise anything
        raise CheckpointError(
            f"{path}: is no pickled dictionary of NumPy arrays; anything that would run code is refused. ({_first_reason(error)})"
        ) from error


def _tensor(value: Tensor | np.ndarray) -> Tensor:
    return value if isinstance(value, Tensor) else torch.from_numpy(np.ascontiguousarray(value)).reshape(value.shape)
