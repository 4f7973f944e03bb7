"""What a layout is, and tables of names that read in both directions."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dense.errors import CheckpointError

__all__ = ["Converted", "Layout", "NameTable", "join_thirds", "rename_all", "split_thirds"]


@dataclass(frozen=True)
class Converted:
    """A state dict under other names.

    Attributes:
        tensors: new name → tensor.
        dropped: old names that the new layout has no use for (classifiers, counters, tables that models compute themselves).
    """

    tensors: dict[str, Tensor]
    dropped: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Layout:
    """Names under which others keep the same weights.

    Attributes:
        name: how the command line calls it.
        summary: whose it is, in one line.
        recognises: do these names belong to it?
        to_ours: conversion to our names.
        from_ours: conversion back; names that the layout does not have are dropped.
    """

    name: str
    summary: str
    recognises: Callable[[Collection[str]], bool]
    to_ours: Callable[[Mapping[str, Tensor]], Converted]
    from_ours: Callable[[Mapping[str, Tensor]], Converted]


class NameTable:
    """Beginnings of names, ours and theirs; ``{}`` stands for a number and keeps its place.

    Args:
        pairs: ``(ours, theirs, …)``: several of theirs may mean the same; the first is the one written.
        read_only: ``(ours, theirs)`` that are understood and never written.
    """

    def __init__(self, pairs: Sequence[Sequence[str]], read_only: Sequence[tuple[str, str]] = ()) -> None:
        self._to_ours = [(_pattern(theirs), ours) for ours, *others in pairs for theirs in others]
        self._to_ours += [(_pattern(theirs), ours) for ours, theirs in read_only]
        self._to_theirs = [(_pattern(ours), theirs) for ours, theirs, *_ in pairs]

    def to_ours(self, name: str) -> str | None:
        """Our name, or ``None`` if no line of the table fits."""
        return _rename(name, self._to_ours)

    def to_theirs(self, name: str) -> str | None:
        """Their name, or ``None``."""
        return _rename(name, self._to_theirs)


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.escape(template).replace(r"\{\}", r"(\d+)"))


def _rename(name: str, rules: Sequence[tuple[re.Pattern[str], str]]) -> str | None:
    for pattern, template in rules:
        found = pattern.match(name)
        if found:
            return template.format(*found.groups()) + name[found.end() :]
    return None


def rename_all(
    tensors: Mapping[str, Tensor], rename: Callable[[str], str | None], drop: Callable[[str], bool] = lambda name: False
) -> Converted:
    """Rename a state dict.

    Args:
        tensors: name → tensor.
        rename: gives the new name, or ``None`` to keep the old one.
        drop: which old names to leave out.

    Raises: CheckpointError if two names become one.
    """
    result = Converted({})
    origin: dict[str, str] = {}
    for name, tensor in tensors.items():
        if drop(name):
            result.dropped.append(name)
            continue
        new = rename(name) or name
        if new in origin:
            raise CheckpointError(f"{origin[new]} and {name} both mean {new}. Remove one of them from the checkpoint.")
        origin[new] = name
        result.tensors[new] = tensor
    return result


def join_thirds(tensors: Mapping[str, Tensor], parts: Sequence[str], whole: str) -> dict[str, Tensor]:
    """Stack query, key and value projections that are kept apart.

    Args:
        tensors: name → tensor.
        parts: the three endings, e.g. ``".q.weight"``, in the order in which they are stacked.
        whole: the ending of the result, e.g. ``".qkv.weight"``.

    Returns: a new mapping; where one of the three is missing the others stay as they are.
    """
    joined = dict(tensors)
    for name in tensors:
        if not name.endswith(parts[0]):
            continue
        stem = name.removesuffix(parts[0])
        names = [f"{stem}{part}" for part in parts]
        if all(part in tensors for part in names):
            joined[f"{stem}{whole}"] = torch.cat([tensors[part] for part in names])
            for part in names:
                del joined[part]
    return joined


def split_thirds(tensors: Mapping[str, Tensor], parts: Sequence[str], whole: str) -> dict[str, Tensor]:
    """Undo ``join_thirds``."""
    apart: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.endswith(whole):
            stem = name.removesuffix(whole)
            apart.update({f"{stem}{part}": third for part, third in zip(parts, tensor.chunk(3), strict=True)})
        else:
            apart[name] = tensor
    return apart
