"""Where each value of a configuration comes from: default, file and line, or command line."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from dense.config.official import official_defaults
from dense.config.reader import read_yaml_chain, read_yaml_files

__all__ = ["find_origins", "flatten"]

DEFAULT = "default"


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of every leaf of a nested mapping, in its order."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from flatten(value, f"{name}.")
        else:
            yield name, value


def find_origins(path: str | Path | None, overrides: Sequence[Any] = ()) -> dict[str, str]:
    """Origin of every key that a file or the command line sets; all others are defaults.

    Args:
        path: YAML file or ``None``, as for ``load_config``.
        overrides: ``KEY VALUE`` pairs.

    Returns: dotted key → ``"file:line"``, ``"official code"`` (fixed there whatever the file says) or ``"command line"``.
    Raises: ConfigError as ``load_config`` for files that cannot be read.
    """
    origins: dict[str, str] = {}
    if path is not None:
        for file, values in read_yaml_files(path):
            lines = dict(_lines(file))
            for key, _ in flatten(values):
                origins[key] = f"{file}:{lines[key]}" if key in lines else str(file)
        fixed = official_defaults(read_yaml_chain(path))
        origins.update({key: "official code" for key, _ in flatten(fixed)})
    origins.update({str(key): "command line" for key in overrides[::2]})
    return origins


def _lines(file: Path) -> Iterator[tuple[str, int]]:
    """Dotted key and line (from 1) of every mapping entry; the reader has checked the file before."""
    root = yaml.compose(file.read_text(encoding="utf-8-sig"), Loader=yaml.SafeLoader)
    if isinstance(root, yaml.MappingNode):
        yield from _lines_below(root, "")


def _lines_below(node: yaml.MappingNode, prefix: str) -> Iterator[tuple[str, int]]:
    for key, value in node.value:
        name = f"{prefix}{key.value}"
        yield name, key.start_mark.line + 1
        if isinstance(value, yaml.MappingNode):
            yield from _lines_below(value, f"{name}.")
