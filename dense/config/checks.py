"""Checks of values, those of a configuration by dotted key: ranges, multiples, choices."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dense.errors import ConfigError
from dense.registry import nearest

__all__ = ["Range", "check_choice", "check_multiples", "check_ranges", "check_share", "value_at"]

Range = tuple[float, float]
"""Least and greatest value, both allowed; ``math.inf`` = no limit."""


def value_at(cfg: Any, key: str) -> Any:  # noqa: ANN401  a CfgNode, of whatever it holds
    """The value under a dotted key that is known to exist."""
    for part in key.split("."):
        cfg = cfg[part]
    return cfg


def check_ranges(cfg: Any, ranges: Mapping[str, Range]) -> None:  # noqa: ANN401  Detectron2 is not imported here
    """Compare numbers with their ranges.

    Args:
        cfg: a ``CfgNode`` with all these keys.
        ranges: dotted key → range.

    Raises: ConfigError naming the first key outside its range (NaN is outside every range).
    """
    for key, (least, most) in ranges.items():
        value = value_at(cfg, key)
        if not least <= value <= most:
            raise ConfigError(
                f"{key}: {value}, expected {f'{least:g} or more' if most == math.inf else f'{least:g} to {most:g}'}."
            )


def check_multiples(cfg: Any, key: str, of: Iterable[tuple[int, str]]) -> None:  # noqa: ANN401
    """Make sure that a number is a multiple of each number of ``of``, which come with the reason.

    Raises: ConfigError naming the key and the reason.
    """
    value = value_at(cfg, key)
    for number, reason in of:
        if value % number:
            raise ConfigError(f"{key}: {value}, expected a multiple of {number} ({reason}).")


def check_choice(key: str, value: str, choices: Sequence[str]) -> str:
    """``value``, one of ``choices``. Raises: ConfigError naming the key and the nearest choice."""
    if value not in choices:
        raise ConfigError(f"{key}: unknown {value!r}.{nearest(value, list(choices))} Expected {' or '.join(choices)}.")
    return value


def check_share(name: str, value: float) -> None:
    """Make sure that an argument lies in [0, 1]. Raises: ConfigError naming it."""
    if not 0 <= value <= 1:
        raise ConfigError(f"{name} {value}: expected a number from 0 to 1.")
