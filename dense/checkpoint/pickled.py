"""Detectron2's ``.pkl`` checkpoints: a reader that knows numbers, text, containers and NumPy arrays, and builds nothing else.

NumPy's own classes are not handed to the pickle: ``numpy.ndarray`` called with a buffer makes an array of wild pointers.
"""

import math
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["read_arrays"]

_NUMERIC = "biufc"
_MULTIARRAY = {"numpy.core.multiarray", "numpy._core.multiarray"}


def read_arrays(path: Path) -> Any:  # noqa: ANN401  the top level can be any container
    """Content of a pickle with ``numpy.ndarray`` for numeric arrays and ``None`` for arrays of text or objects.

    Raises: pickle.UnpicklingError if it asks for anything else; any exception on damaged bytes.
    """
    with path.open("rb") as stream:
        return _plain(_ArraysOnly(stream, encoding="latin1").load())


class _Type:
    """Stands for ``numpy.dtype`` while the pickle is read."""

    def __init__(self, code: str | bytes, *_: object) -> None:
        self.code = code.decode("latin1") if isinstance(code, bytes) else str(code)
        self.order = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = str(state[1])

    def numeric(self) -> np.dtype | None:
        """The NumPy type, or ``None`` for text, objects, dates and structures."""
        kind = np.dtype(self.code)
        if kind.kind not in _NUMERIC or kind.hasobject:
            return None
        return kind.newbyteorder(">") if self.order == ">" else kind


class _Array:
    """Stands for ``numpy.ndarray`` while the pickle is read."""

    def __init__(self) -> None:
        self.value: np.ndarray | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, is_fortran, data = state
        numeric = kind.numeric()
        if numeric is None:
            return
        flat = np.frombuffer(_bytes(data), numeric)
        if flat.size != math.prod(shape):
            raise pickle.UnpicklingError(f"array of shape {tuple(shape)} with {flat.size} values")
        self.value = flat.reshape(shape, order="F" if is_fortran else "C").astype(numeric.newbyteorder("="))


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401
        if module in _MULTIARRAY and name in {"_reconstruct", "scalar"}:
            return _reconstruct if name == "_reconstruct" else _scalar
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("numpy", "dtype"): _Type,
            ("numpy", "ndarray"): _Array,
            ("_codecs", "encode"): _latin1,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"{module}.{name} is neither an array nor a container")
        return known[module, name]

    def persistent_load(self, pid: object) -> object:
        raise pickle.UnpicklingError(f"persistent id {pid!r} is not supported")


def _reconstruct(kind: type, *_: object) -> _Array:
    if kind is not _Array:
        raise pickle.UnpicklingError("only plain NumPy arrays are read")
    return _Array()


def _scalar(kind: _Type, data: str | bytes) -> object:
    numeric = kind.numeric()
    return None if numeric is None else np.frombuffer(_bytes(data), numeric)[0]


def _bytes(data: str | bytes) -> bytes:
    return data.encode("latin1") if isinstance(data, str) else data  # text: written by Python 2


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding!r} is not supported")
    return text.encode("latin1")


def _plain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, _Type) else value
