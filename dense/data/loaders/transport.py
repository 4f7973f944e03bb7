"""Carrying a batch from a worker to the trainer in one piece of shared memory.

PyTorch sends every tensor through a file descriptor of its own and keeps it open as long as the tensor lives; a batch of
clips has thousands of tensors, and systems allow 1,024 descriptors by default.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["PackedBatch", "pack", "unpack"]

_ALIGNMENT = 64  # bytes; every dtype may be viewed at such an offset


@dataclass(frozen=True)
class PackedBatch:
    """``structure`` is the batch with places instead of tensors; ``storage`` ``(bytes,)`` uint8 holds their values."""

    structure: Any
    storage: Tensor


@dataclass(frozen=True)
class _Place:
    offset: int
    shape: tuple[int, ...]
    dtype: torch.dtype


def pack(batch: Any) -> PackedBatch:  # noqa: ANN401 (any nesting)
    """Gather the CPU tensors inside nested lists, tuples, dicts and dataclasses; everything else stays as it is."""
    tensors: list[tuple[int, Tensor]] = []
    end = 0

    def place(tensor: Tensor) -> _Place:
        nonlocal end
        offset = math.ceil(end / _ALIGNMENT) * _ALIGNMENT
        end = offset + tensor.numel() * tensor.element_size()
        tensors.append((offset, tensor))
        return _Place(offset, tuple(tensor.shape), tensor.dtype)

    structure = _replace(batch, Tensor, place)
    storage = torch.empty(end, dtype=torch.uint8)
    for offset, tensor in tensors:
        values = tensor.contiguous().view(-1).view(torch.uint8)
        storage[offset : offset + len(values)] = values
    return PackedBatch(structure, storage)


def unpack(packed: PackedBatch) -> Any:  # noqa: ANN401
    """The batch again; its tensors are views of the one storage and do not overlap."""

    def tensor(place: _Place) -> Tensor:
        size = math.prod(place.shape) * place.dtype.itemsize
        return packed.storage[place.offset : place.offset + size].view(place.dtype).view(place.shape)

    return _replace(packed.structure, _Place, tensor)


def _replace(value: Any, kind: type, change: Any) -> Any:  # noqa: ANN401
    """Rebuild a nesting with every instance of ``kind`` changed."""
    if isinstance(value, kind):
        return change(value)
    if isinstance(value, list | tuple):
        return type(value)(_replace(item, kind, change) for item in value)
    if isinstance(value, dict):
        return {key: _replace(item, kind, change) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _replace(getattr(value, f.name), kind, change) for f in dataclasses.fields(value)}
        return dataclasses.replace(value, **fields)
    return value
