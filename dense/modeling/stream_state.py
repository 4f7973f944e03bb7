"""State of a video model as plain values, and back: what a stream needs to be continued by another process."""

import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from dense.errors import CheckpointError, shown

__all__ = ["plain_state", "restored_state"]


def plain_state(value: Any) -> Any:  # noqa: ANN401  a state is whatever the model makes it
    """Dataclasses → dictionaries, tuples → lists, tensors → the CPU; the file that ``torch.save`` makes of it runs no code."""
    if is_dataclass(value):
        return {field.name: plain_state(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Tensor):
        return value.detach().cpu().clone()  # a view would bring its whole storage into the file
    if isinstance(value, tuple | list):
        return [plain_state(item) for item in value]
    return value


def restored_state(kind: Any, plain: Any, where: str, device: torch.device | None = None) -> Any:  # noqa: ANN401  see above
    """The inverse of ``plain_state``.

    Args:
        kind: type of the state, usually a dataclass; the types of its fields say what the values become.
        plain: values from ``plain_state``.
        where: begins messages.
        device: where tensors go; ``None`` = they stay.

    Raises: CheckpointError if a value is missing or of another type.
    """
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        choices = typing.get_args(kind)
        if plain is None and type(None) in choices:
            return None
        kind = next(choice for choice in choices if choice is not type(None))
    if is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        _check(isinstance(plain, Mapping) and plain.keys() == hints.keys(), plain, f"the fields {', '.join(hints)}", where)
        return kind(  # type: ignore[operator]
            **{name: restored_state(hint, plain[name], f"{where}.{name}", device) for name, hint in hints.items()}
        )
    origin, items = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        _check(isinstance(plain, list), plain, "a list", where)
        repeated = len(items) == 2 and items[1] is Ellipsis
        _check(repeated or len(items) == len(plain), plain, f"{len(items)} values", where)
        inner = [items[0]] * len(plain) if repeated else items
        return tuple(restored_state(k, v, f"{where}[{i}]", device) for i, (k, v) in enumerate(zip(inner, plain, strict=True)))
    _check(kind is Any or type(plain) is kind or (kind is float and type(plain) is int), plain, f"a {kind.__name__}", where)
    return plain.to(device) if isinstance(plain, Tensor) else plain


def _check(fits: bool, value: object, expected: str, where: str) -> None:
    if not fits:
        found = ", ".join(map(str, value)) if isinstance(value, Mapping) else shown(value)
        raise CheckpointError(f"{where}: is {found}, expected {expected}. It was saved by another model or version.")
