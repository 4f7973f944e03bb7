"""``load_config``: Detectron2's defaults, the keys of every system, a YAML file, ``KEY VALUE`` pairs."""

import ast
import difflib
import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode, get_cfg

from dense.config.checks import value_at
from dense.config.keys import add_library_keys
from dense.config.official import UNSUPPORTED, WITHOUT_EFFECT, keys_among, official_defaults, translate
from dense.config.reader import read_yaml_chain
from dense.errors import ConfigError, shown
from dense.limits import LARGEST_INTEGER
from dense.registry import listed, load_projects

__all__ = ["default_config", "load_config"]

logger = logging.getLogger(__name__)

_FEW = 3  # places of one name that a message lists; NAME and ENABLED stand in dozens


def default_config() -> CfgNode:
    """Detectron2's defaults with the keys of the library and of every project, all at their official values."""
    cfg = get_cfg()
    add_library_keys(cfg)
    for project in load_projects():
        project.add_config(cfg)
    return cfg


def load_config(path: str | Path | None = None, overrides: Sequence[Any] = ()) -> CfgNode:
    """Read a configuration.

    Args:
        path: YAML file, ours or an official one of Mask2Former, MinVIS, CTVIS, DVIS or DVIS++; ``None`` = defaults only.
            ``configs/…`` also finds the files that come with the toolbox, from any folder. Keys in it that change nothing are
            logged; one that asks for something this toolbox does not do is logged as a warning.
        overrides: ``[key, value, key, value, …]`` in dotted keys; values may be text, as on a command line.

    Returns: frozen ``CfgNode``.
    Raises: ConfigError for an unreadable file, an unknown key (with the nearest known one), or a value of the wrong type.
    """
    cfg = default_config()
    if path is not None:
        official = read_yaml_chain(path)
        values = translate(official)
        defaults = {key: value_at(cfg, key) for key in UNSUPPORTED}
        _merge(cfg, values, str(path))
        _merge(cfg, official_defaults(official), str(path))
        ignored = keys_among(values, WITHOUT_EFFECT)
        if ignored:
            logger.info("%s: these keys have no effect: %s", path, ", ".join(ignored))
        lost = [key for key in keys_among(values, UNSUPPORTED) if value_at(cfg, key) != defaults[key]]
        if lost:
            logger.warning("%s: not supported, passed over: %s", path, ", ".join(f"{k} {value_at(cfg, k)}" for k in lost))
    _override(cfg, overrides)
    cfg.freeze()
    return cfg


def _merge(cfg: CfgNode, values: dict[str, Any], where: str, prefix: str = "") -> None:
    for key, value in values.items():
        name = f"{prefix}{key}"
        if key not in cfg:
            raise ConfigError(f"{where}: unknown key {shown(name)}.{_nearest_key(cfg, str(key), prefix)}")
        if isinstance(cfg[key], CfgNode):
            if not isinstance(value, dict):
                raise ConfigError(f"{where}: {name} is {type(value).__name__}, expected keys below it.")
            _merge(cfg[key], value, where, f"{name}.")
        else:
            cfg[key] = _convert(value, cfg[key], f"{where}: {name}")
            _check_numbers(cfg[key], f"{where}: {name}")


def _nearest_key(cfg: CfgNode, key: str, prefix: str) -> str:
    """Hint at the key that was meant: in other case, at another level, misspelt on this level, misspelt at another level."""
    word = key.upper()
    here = {name.upper(): [f"{prefix}{name}"] for name in cfg}
    anywhere: dict[str, list[str]] = {}
    for path in _paths(default_config()):
        anywhere.setdefault(path.rpartition(".")[2].upper(), []).append(path)
    places = anywhere.get(word, [])

    def close(known: dict[str, list[str]], cutoff: float) -> list[str]:
        return [path for name in difflib.get_close_matches(word, known, 1, cutoff) for path in known[name][:_FEW]]

    meant = here.get(word) or [*close(here, 0.85), *(places if len(places) <= _FEW else [])]
    meant = meant or close(here, 0.6) or close(anywhere, 0.8)
    if not meant:
        return listed(path for paths in here.values() for path in paths)
    return f" Did you mean {' or '.join(map(repr, meant))}?"


def _paths(cfg: CfgNode, prefix: str = "") -> Iterator[str]:
    """Every dotted key, those of nodes too."""
    for key, value in cfg.items():
        yield f"{prefix}{key}"
        if isinstance(value, CfgNode):
            yield from _paths(value, f"{prefix}{key}.")


def _convert(value: object, old: object, where: str) -> Any:  # noqa: ANN401  keys hold any plain type
    """Bring a YAML or command-line value to the type of the default (numbers, lists and tuples may stand for each other)."""
    if isinstance(value, str) and not isinstance(old, str):
        value = _literal(value)
    if isinstance(value, dict):
        raise ConfigError(f"{where} holds keys, expected a {type(old).__name__}.")
    if value is None and isinstance(old, bool | int | float):
        raise _wrong_type(value, old, where)
    if old is None or value is None or type(value) is type(old):
        return value
    if isinstance(old, bool) or isinstance(value, bool):
        raise _wrong_type(value, old, where)
    if isinstance(old, float) and isinstance(value, int):
        _check_numbers(value, where)  # floats end at 1.8e308
        return float(value)
    if isinstance(old, int) and isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(old, tuple) and isinstance(value, list):
        nested = bool(old) and isinstance(old[0], tuple)  # a tuple of tuples comes back from YAML as a list of lists
        return tuple(tuple(item) if nested and isinstance(item, list) else item for item in value)
    if isinstance(old, list) and isinstance(value, tuple):
        return list(value)
    raise _wrong_type(value, old, where)


def _check_numbers(value: object, where: str) -> None:
    """Refuse what no setting means: NaN, and integers beyond 64 bits."""
    if isinstance(value, list | tuple):
        for item in value:
            _check_numbers(item, where)
    elif isinstance(value, float) and math.isnan(value):
        raise ConfigError(f"{where} is not a number (NaN), expected a number.")
    elif isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        raise ConfigError(f"{where} is {shown(value)}, expected an integer of 64 bits.")


def _literal(text: str) -> Any:  # noqa: ANN401
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):  # the last two: nested a thousand times
        return text


def _wrong_type(value: object, old: object, where: str) -> ConfigError:
    return ConfigError(f"{where} is {shown(value)} ({type(value).__name__}), expected {type(old).__name__} like {old!r}.")


def _override(cfg: CfgNode, overrides: Sequence[Any]) -> None:
    if len(overrides) % 2:
        raise ConfigError(
            f"KEY VALUE pairs: {len(overrides)} words, expected an even number; the last one is {overrides[-1]!r}."
        )
    for key, value in zip(overrides[::2], overrides[1::2], strict=True):
        nested: Any = value
        for part in reversed(str(key).split(".")):
            nested = {part: nested}
        _merge(cfg, translate(nested), "command line")
