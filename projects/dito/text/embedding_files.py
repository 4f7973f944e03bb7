"""Precomputed embeddings: ``.npy``, ``.npz`` or ``.safetensors``, with their names inside or in a file beside it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dense.errors import DataError
from dense.io import atomic_write, read_json

__all__ = ["StoredEmbeddings", "read_embeddings", "write_embeddings"]

_KEY = "embeddings"


@dataclass(frozen=True)
class StoredEmbeddings:
    """What a file holds.

    Attributes:
        rows: ``(R, D)`` float32.
        names: of the rows but the first, which is the background; ``None`` = the file does not say.
        is_base: ``(R - 1,)`` bool, or ``None`` = the file does not say.
    """

    rows: np.ndarray
    names: list[str] | None = None
    is_base: np.ndarray | None = None


def read_embeddings(path: str | Path) -> StoredEmbeddings:
    """Read a file.

    A ``.npy`` is one matrix; ``.npz`` and ``.safetensors`` hold it as ``embeddings`` or as their only matrix, and may hold
    ``is_base``. Names are the array ``names`` of a ``.npz``, the metadata ``names`` (JSON) of a ``.safetensors``, else the file
    of the same name with ``.names.json`` (a list) or ``.names.txt`` (one a line).

    Raises: DataError naming file and fault: unreadable, pickled, no matrix, or not finite.
    """
    file = Path(path)
    arrays, names = _READERS.get(file.suffix, _unknown)(file)
    matrices = [key for key, value in arrays.items() if value.ndim == 2]
    key = _KEY if _KEY in arrays else matrices[0] if len(matrices) == 1 else None
    if key is None or arrays[key].ndim != 2 or 0 in arrays[key].shape:
        held = ", ".join(f"{k} {list(v.shape)}" for k, v in arrays.items()) or "nothing"
        raise DataError(f"{file}: holds {held}, expected '{_KEY}' (rows, D), the background first.")
    rows = arrays[key]
    if rows.dtype.kind not in "fiu":
        raise DataError(f"{file}: {key} is {rows.dtype}, expected numbers.")
    rows = rows.astype(np.float32)
    if not np.isfinite(rows).all():
        raise DataError(f"{file}: row {int(np.argwhere(~np.isfinite(rows))[0, 0])} of {key} is not finite.")
    base = arrays.get("is_base")
    return StoredEmbeddings(
        rows, names if names is not None else _names_beside(file), None if base is None else base.astype(bool)
    )


def write_embeddings(path: str | Path, rows: np.ndarray, names: Sequence[str], is_base: np.ndarray | None = None) -> None:
    """Write a ``.safetensors`` that ``read_embeddings`` reads, names inside."""
    from safetensors.numpy import save

    arrays = {_KEY: np.ascontiguousarray(rows, dtype=np.float32)}
    if is_base is not None:
        arrays["is_base"] = np.ascontiguousarray(is_base, dtype=bool)
    with atomic_write(path, "wb") as stream:
        stream.write(save(arrays, metadata={"names": json.dumps(list(names))}))


def _numpy(file: Path) -> tuple[dict[str, np.ndarray], list[str] | None]:
    try:
        content: Any = np.load(file, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return {_KEY: content}, None
        with content:
            arrays = {key: content[key] for key in content.files}
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise DataError(f"{file}: cannot be read as NumPy arrays without Python objects ({error}).") from error
    except Exception as error:
        raise DataError(f"{file}: a damaged NumPy archive ({error}).") from error
    names = arrays.pop("names", None)
    return arrays, None if names is None else [str(name) for name in names.ravel()]


def _safetensors(file: Path) -> tuple[dict[str, np.ndarray], list[str] | None]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as content:  # NumPy has no bfloat16
            arrays = {key: _as_numpy(content.get_tensor(key)) for key in content.keys()}  # noqa: SIM118  no mapping
            text = (content.metadata() or {}).get("names")
        names = None if text is None else json.loads(text)
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read as safetensors ({error}).") from error
    return arrays, _checked(file, names)


def _as_numpy(tensor: Any) -> np.ndarray:  # noqa: ANN401  a torch tensor; torch is not imported here
    array: np.ndarray = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    return array


def _unknown(file: Path) -> tuple[dict[str, np.ndarray], list[str] | None]:
    raise DataError(f"{file}: unknown kind of embeddings, expected .npy, .npz or .safetensors.")


_READERS = {".npy": _numpy, ".npz": _numpy, ".safetensors": _safetensors}


def _names_beside(file: Path) -> list[str] | None:
    table, lines = file.with_suffix(".names.json"), file.with_suffix(".names.txt")
    if table.is_file():
        return _checked(table, read_json(table))
    if lines.is_file():
        return lines.read_text(encoding="utf-8").splitlines()
    return None


def _checked(file: Path, names: Any) -> list[str] | None:  # noqa: ANN401  whatever the file says
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{file}: the names are no list of texts.")
    return names
