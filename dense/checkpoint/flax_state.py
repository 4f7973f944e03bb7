"""Checkpoints of Flax: one MessagePack document of nested maps with arrays in it. Numbers and text are read, nothing is run."""

import math
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dense.errors import CheckpointError
from dense.limits import MAX_NESTING

__all__ = ["is_flax", "read_flax"]

_ARRAY, _SCALAR = 1, 3  # Flax's extension types; 2 is a complex number
_NO_WEIGHTS = {"complex64", "complex128"}
_TYPES = {f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)} | {"float16", "float32", "float64", "bool"}
_CHUNKED = "__msgpack_chunked_array__"  # arrays above 1 GB are cut

#: lead byte → struct format of a number, or of the length that follows
_NUMBERS = {0xCA: ">f", 0xCB: ">d"} | dict(
    zip(range(0xCC, 0xD4), (">B", ">H", ">I", ">Q", ">b", ">h", ">i", ">q"), strict=True)
)
_LENGTHS = {0xC4: "B", 0xC5: ">H", 0xC6: ">I", 0xC7: "B", 0xC8: ">H", 0xC9: ">I", 0xD9: "B", 0xDA: ">H", 0xDB: ">I"}
_LENGTHS |= {0xDC: ">H", 0xDD: ">I", 0xDE: ">H", 0xDF: ">I"}


def is_flax(path: Path) -> bool:
    """Whether a file begins like a MessagePack map that is not empty; no pickle and no archive does."""
    with path.open("rb") as stream:
        first = stream.read(1)
    return path.suffix == ".msgpack" or (bool(first) and (0x81 <= first[0] <= 0x8F or first[0] in (0xDE, 0xDF)))


def read_flax(path: Path) -> dict[str, Tensor]:
    """Arrays of a checkpoint by their paths, ``/`` between the keys.

    Raises: CheckpointError if the bytes are no such document, or it holds no arrays.
    """
    try:
        content = _Reader(bytearray(path.read_bytes())).document()
        tensors = dict(_flattened(content, ()))
    except _MalformedError as error:
        raise CheckpointError(f"{path}: is no readable checkpoint of Flax ({error}). Download it again.") from error
    if not tensors:
        raise CheckpointError(f"{path}: holds no arrays. Expected a checkpoint of Flax with parameters.")
    return tensors


class _MalformedError(Exception):
    """What is wrong with the bytes."""


class _Reader:
    """MessagePack (specification 2013) without timestamps; arrays become tensors, other extensions ``None``."""

    def __init__(self, data: bytearray | memoryview) -> None:
        self._data = memoryview(data)
        self._place = 0

    def document(self) -> Any:  # noqa: ANN401
        """The one value that the bytes hold."""
        value = self.value(0)
        if self._place != len(self._data):
            raise _MalformedError(f"{len(self._data) - self._place} bytes after its end")
        return value

    def value(self, depth: int) -> Any:  # noqa: ANN401
        """The next value."""
        if depth > MAX_NESTING:
            raise _MalformedError(f"more than {MAX_NESTING} containers inside each other")
        lead = self._take(1)[0]
        if lead <= 0x7F or lead >= 0xE0:
            return lead if lead <= 0x7F else lead - 256
        if lead in _NUMBERS:
            return self._number(_NUMBERS[lead])
        if lead in (0xC0, 0xC2, 0xC3):
            return {0xC0: None, 0xC2: False, 0xC3: True}[lead]
        if 0xD4 <= lead <= 0xD8:
            return self._extension(1 << (lead - 0xD4), depth)
        return self._sized(lead, depth)

    def _sized(self, lead: int, depth: int) -> Any:  # noqa: ANN401
        """A value whose length stands in the lead byte or follows it."""
        if lead <= 0xBF:
            family, count = (
                (0x80, lead & 0x0F) if lead <= 0x8F else (0x90, lead & 0x0F) if lead <= 0x9F else (0xA0, lead & 0x1F)
            )
        elif lead in _LENGTHS:
            count = int(self._number(_LENGTHS[lead]))
            family = next(f for f, leads in _FAMILIES.items() if lead in leads)
        else:
            raise _MalformedError(f"byte 0x{lead:02x} at {self._place - 1} means nothing")
        return _READ[family](self, count, depth)

    def _map(self, count: int, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for _ in range(count):
            key = self.value(depth + 1)
            if not isinstance(key, str) or key in found:
                raise _MalformedError(f"key {key!r:.40} of a map is no text, or stands there twice")
            found[key] = self.value(depth + 1)
        return found

    def _list(self, count: int, depth: int) -> list[Any]:
        return [self.value(depth + 1) for _ in range(count)]

    def _text(self, count: int, depth: int) -> str:
        try:
            return bytes(self._take(count)).decode()
        except UnicodeDecodeError as error:
            raise _MalformedError(f"text at {self._place - count} is no UTF-8") from error

    def _binary(self, count: int, depth: int) -> memoryview:
        return self._take(count)

    def _extension(self, count: int, depth: int) -> Tensor | None:
        code = self._number(">b")
        content = self._take(count)
        return _tensor(_Reader(content).document()) if code in (_ARRAY, _SCALAR) else None

    def _number(self, form: str) -> Any:  # noqa: ANN401
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _take(self, count: int) -> memoryview:
        end = self._place + count
        if end > len(self._data):
            raise _MalformedError(f"ends at byte {len(self._data)} inside a value")
        piece, self._place = self._data[self._place : end], end
        return piece


_FAMILIES = {
    0x80: (0xDE, 0xDF),
    0x90: (0xDC, 0xDD),
    0xA0: (0xD9, 0xDA, 0xDB),
    0xC4: (0xC4, 0xC5, 0xC6),
    0xC7: (0xC7, 0xC8, 0xC9),
}
_READ: dict[int, Callable[[_Reader, int, int], Any]] = {
    0x80: _Reader._map,
    0x90: _Reader._list,
    0xA0: _Reader._text,
    0xC4: _Reader._binary,
    0xC7: _Reader._extension,
}


def _tensor(content: object) -> Tensor | None:
    """``[shape, name of the type, bytes in C order]`` → tensor; ``None`` for complex numbers, which no weight is."""
    if not isinstance(content, list) or len(content) != 3:
        raise _MalformedError("an array is not shape, type and bytes")
    shape, name, data = content
    if not _is_shape(shape) or not isinstance(data, memoryview):
        raise _MalformedError("an array has no shape or no bytes")
    if name in _NO_WEIGHTS:
        return None
    if name == "bfloat16":
        flat = torch.from_numpy(np.frombuffer(data, np.int16).copy()).view(torch.bfloat16) if len(data) % 2 == 0 else None
    elif name in _TYPES and len(data) % np.dtype(name).itemsize == 0:
        flat = torch.from_numpy(np.frombuffer(data, np.dtype(name).newbyteorder("<")).astype(name))
    else:
        raise _MalformedError(f"an array has type {name!r:.40}, or a part of a number at its end")
    if flat is None or flat.numel() != math.prod(shape):
        raise _MalformedError(f"an array of shape {shape} has {len(data)} bytes of {name}")
    return flat.reshape(shape)


def _is_shape(shape: object) -> bool:
    return isinstance(shape, list) and len(shape) <= 32 and all(type(n) is int and 0 <= n < 2**62 for n in shape)


def _flattened(value: object, path: tuple[str, ...]) -> Iterator[tuple[str, Tensor]]:
    """Tensors of nested maps; lists, which Flax writes as maps, only hold what is no weight."""
    if isinstance(value, Tensor):
        yield "/".join(path), value
    elif isinstance(value, dict):
        if value.get(_CHUNKED) is True:
            yield "/".join(path), _joined(value)
        else:
            for key, inner in value.items():
                yield from _flattened(inner, (*path, key))


def _joined(value: Mapping[str, Any]) -> Tensor:
    """An array that was cut into flat chunks."""
    shape, chunks = value.get("shape"), value.get("chunks")
    if not isinstance(shape, dict) or not isinstance(chunks, dict):
        raise _MalformedError("an array in chunks lacks its shape or its chunks")
    sides = [shape.get(str(i)) for i in range(len(shape))]
    parts = [part for i in range(len(chunks)) if isinstance(part := chunks.get(str(i)), Tensor) and part.dim() == 1]
    if not _is_shape(sides) or not parts or len(parts) != len(chunks) or len({part.dtype for part in parts}) != 1:
        raise _MalformedError("an array in chunks is not made of flat arrays of one type")
    whole = torch.cat(parts)
    if len(whole) != math.prod(side for side in sides if side is not None):
        raise _MalformedError(f"an array in chunks has {len(whole)} values, its shape is {sides}")
    return whole.reshape(sides)  # type: ignore[arg-type]
