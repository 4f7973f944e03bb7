"""Reading checkpoints of strangers: no code inside them is ever run."""

import os
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from dense.checkpoint.array_archive import read_array_archive
from dense.checkpoint.flax_state import is_flax, read_flax
from dense.checkpoint.inspection import check_archive, check_pickles, is_archive
from dense.checkpoint.pickled import read_arrays
from dense.checkpoint.writing import file_hash
from dense.errors import CheckpointError, shown
from dense.limits import MAX_CHECKPOINT_PARTS

__all__ = ["find_tensors", "read_checkpoint", "read_metadata", "read_state_dict"]

_TERMINAL_CODES = re.compile("\x1b\\[[0-9;]*m")
_SMALL = 1 << 20  # bytes up to which an expanded tensor passes
_WRAPPERS = ("model", "state_dict", "model_state_dict")


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Tensors of a checkpoint by name.

    Args:
        path: ``.safetensors``, ``.pth`` / ``.pt``, Detectron2's ``.pkl``, NumPy's ``.npz`` or Flax's MessagePack; see
            ``find_tensors``. A safetensors file may hold the later parts of a model only: its header's ``base`` names the file
            beside it that has the others, and ``base_sha256`` its digest.

    Returns: name → CPU tensor.
    Raises: CheckpointError for anything else.
    """
    source, parts = Path(path), [find_tensors(read_checkpoint(path), str(path))]
    while (base := _base(source)) is not None:
        if len(parts) == MAX_CHECKPOINT_PARTS:
            raise CheckpointError(f"{path}: stands on more than {MAX_CHECKPOINT_PARTS - 1} files, one on the other.")
        parts.append(find_tensors(read_checkpoint(base), str(base)))
        source = base
    return {name: tensor for part in reversed(parts) for name, tensor in part.items()}


def _base(path: Path) -> Path | None:
    """The file that the parts in ``path`` stand on, checked; ``None`` if it stands alone."""
    metadata = read_metadata(path) if path.suffix == ".safetensors" else {}
    if "base" not in metadata:
        return None
    name = metadata["base"]
    base = path.parent / name
    if Path(name).name != name or base.suffix != ".safetensors":
        raise CheckpointError(f"{path}: its base is {shown(name)}, expected the name of a safetensors file beside it.")
    if not base.is_file():
        raise CheckpointError(f"{path}: holds the later parts of a model; {base} with the others is missing. Put it there.")
    if file_hash(base) != metadata.get("base_sha256"):
        raise CheckpointError(f"{path}: was trained over another {base}. Put the one it came with beside it.")
    return base


def find_tensors(content: Mapping[Any, Any], where: str) -> dict[str, Tensor]:
    """Tensors (and numeric NumPy arrays) of a state dict, or of one under ``model``, ``state_dict`` or ``model_state_dict``.

    Args:
        content: of a checkpoint; a ``module.`` prefix of data-parallel training is taken off.
        where: prefix of error messages.

    Returns: name → tensor.
    Raises: CheckpointError if there is none.
    """
    content = _items(content)
    for key in _WRAPPERS:
        if isinstance(content.get(key), Mapping):
            content = _items(content[key])
            break
    tensors = {str(k): _tensor(v) for k, v in content.items() if _is_numeric(v)}
    if not tensors:
        raise CheckpointError(
            f"{where}: holds no tensors (keys: {', '.join(map(_name, list(content)[:6]))}). Expected a state dict."
        )
    for name, tensor in tensors.items():
        _check_tensor(tensor, f"{where}: {shown(name)}")
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
        raise CheckpointError(f"{source}: is a folder, expected a checkpoint file.{_orbax_advice(source)}")
    if size == 0:
        raise CheckpointError(f"{source}: is empty (0 bytes). Expected a checkpoint file.")
    _refuse_other_files(source)
    if source.suffix == ".safetensors":
        content: Any = _read_safetensors(source)
    elif source.suffix == ".pkl":
        content = _read_pickle(source)
    elif source.suffix == ".npz":
        content = read_array_archive(source)
    elif is_flax(source):
        content = read_flax(source)
    else:
        content = _read_torch(source)
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{source}: holds a {type(content).__name__}, expected a state dict.")
    return content


def _orbax_advice(folder: Path) -> str:
    """What to do with a folder of Orbax or T5X, JAX's other formats."""
    marks = ("_METADATA", "_CHECKPOINT_METADATA", "manifest.ocdbt", "checkpoint")
    if not any((folder / mark).exists() for mark in marks):
        return ""
    return (
        " It looks like one of JAX's (Orbax, T5X): restore it there and save the flattened tree with"
        " `numpy.savez(FILE, **{'path/of/keys': array, …})`; the .npz is read here."
    )


def _refuse_other_files(path: Path) -> None:
    """What often lies under a checkpoint's name after a failed download."""
    with path.open("rb") as stream:
        head = stream.read(256).lstrip().lower()
    if head.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise CheckpointError(f"{path}: is a web page, not a checkpoint. Download the file itself (you may have to sign in).")
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"{path}: is a Git LFS pointer, not the checkpoint. Fetch the file with `git lfs pull`.")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: is no readable safetensors file ({_first_reason(error)}). Download it again."
        ) from error


def _read_torch(path: Path) -> Any:  # noqa: ANN401  a checkpoint can hold anything
    try:
        if is_archive(path):
            check_archive(path)
        else:
            with path.open("rb") as stream:
                check_pickles(path, stream)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own warnings say nothing about the file
            with torch.serialization.safe_globals([(_Settings, "argparse.Namespace")]):
                return torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: is no checkpoint of tensors and plain containers; anything that would run code is refused."
            f" ({_first_reason(error)})"
        ) from error
    except Exception as error:  # what torch raises on damaged bytes is without end: struct.error, AssertionError, …
        raise CheckpointError(f"{path}: is no readable checkpoint ({_first_reason(error)}). Download it again.") from error


class _Settings:
    """Stands for ``argparse.Namespace``, in which PixPro and others keep the options of a training: nothing of it is kept."""

    def __init__(self, **_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def _first_reason(error: Exception) -> str:
    plain = _TERMINAL_CODES.sub("", str(error))  # torch prints parts of its messages bold
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Text entries in the header of a safetensors file. Raises: CheckpointError if it cannot be read."""
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: is no readable safetensors file ({_first_reason(error)}).") from error


def _read_pickle(path: Path) -> Any:  # noqa: ANN401
    try:
        with path.open("rb") as stream:
            check_pickles(path, stream, count=1)
        return read_arrays(path)
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"{path}: is no pickle of arrays and containers; anything that would run code is refused. ({_first_reason(error)})"
        ) from error


def _is_numeric(value: object) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, np.ndarray) and value.dtype.kind in "biufc")


def _items(content: Mapping[Any, Any]) -> dict[Any, Any]:
    """As a plain dict; a pickle can give an OrderedDict attributes that stand before its methods."""
    return dict(dict.items(content)) if isinstance(content, dict) else dict(content)


def _name(key: object) -> str:
    return key if isinstance(key, str) else shown(key)


def _check_tensor(tensor: Tensor, where: str) -> None:
    """Refuse tensors that a module's values cannot be copied from, or that stand for more values than the file holds.

    Raises: CheckpointError.
    """
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu" or tensor.is_nested:
        raise CheckpointError(f"{where}: is a sparse, nested, quantized or empty tensor, expected plain values.")
    if tensor.numel() * tensor.element_size() > max(tensor.untyped_storage().nbytes(), _SMALL):
        raise CheckpointError(f"{where}: of shape {list(tensor.shape)} repeats fewer values. Save it as `tensor.contiguous()`.")


def _tensor(value: Tensor | np.ndarray) -> Tensor:
    return value if isinstance(value, Tensor) else torch.from_numpy(np.ascontiguousarray(value)).reshape(value.shape)
