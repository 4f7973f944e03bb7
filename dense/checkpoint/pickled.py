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
        self.fill(data, kind, shape, "F" if is_fortran else "C")

    def fill(self, data: str | bytes, kind: _Type, shape: tuple[int, ...], order: str) -> None:
        """Read the values; arrays of text and objects stay ``None``."""
        numeric = kind.numeric()
        if numeric is None:
            return
        flat = np.frombuffer(_bytes(data), numeric)
        if flat.size != math.prod(shape):
            raise pickle.UnpicklingError(f"array of shape {tuple(shape)} with {flat.size} values")
        self.value = flat.reshape(shape, order="F" if order == "F" else "C").astype(numeric.newbyteorder("="))


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401
        path = f"{module}.{name}".replace("numpy._core.", "numpy.core.").replace("__builtin__.", "builtins.")
        if path not in _KNOWN:
            raise pickle.UnpicklingError(f"{module}.{name} is neither an array nor a container")
        return _KNOWN[path]

    def persistent_load(self, pid: object) -> object:
        raise pickle.UnpicklingError(f"persistent id {pid!r} is not supported")


def _reconstruct(kind: type, *_: object) -> _Array:
    if kind is not _Array:
        raise pickle.UnpicklingError("only plain NumPy arrays are read")
    return _Array()


def _from_buffer(data: bytes, kind: _Type, shape: tuple[int, ...], order: str, *_: object) -> _Array:
    array = _Array()
    array.fill(data, kind, shape, order)
    return array


def _no_bytes() -> bytes:
    return b""


def _scalar(kind: _Type, data: str | bytes) -> object:
    numeric = kind.numeric()
    return None if numeric is None else np.frombuffer(_bytes(data), numeric)[0]


def _bytes(data: str | bytes) -> bytes:
    return data.encode("latin1") if isinstance(data, str) else data  # text: written by Python 2


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding!r} is not supported")
    return text.encode("latin1")


_KNOWN: dict[str, Any] = {
    "collections.OrderedDict": OrderedDict,
    "numpy.dtype": _Type,
    "numpy.ndarray": _Array,
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _from_buffer,
    "_codecs.encode": _latin1,
    "builtins.bytes": _no_bytes,  # how protocols 0 to 2 write empty bytes
}


def _plain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, _Type) else value
