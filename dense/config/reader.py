"""Reading configuration files: YAML without tags that run code, ``_BASE_`` chains, clear errors."""

import math
from pathlib import Path
from typing import Any

import yaml

from dense.errors import ConfigError, shown
from dense.limits import MAX_YAML_BYTES, MAX_YAML_FILES, MAX_YAML_NODES

__all__ = ["BASE_KEY", "read_yaml_chain", "read_yaml_files", "shipped_config"]

BASE_KEY = "_BASE_"
_PACKAGE = Path(__file__).resolve().parents[1]
_SHIPPED = (_PACKAGE / "share", _PACKAGE.parent)  # in a wheel, in a checkout


def read_yaml_chain(path: str | Path) -> dict[str, Any]:
    """Read a YAML file and the files it is based on, the nearer overriding the farther.

    Args:
        path: the file, or the name of one that comes with the toolbox (``configs/…/….yaml``), from whatever folder; ``_BASE_``
            is the path of one file or a list of paths (the later override the earlier), relative to the file that names it.

    Returns: nested mapping without ``_BASE_``.
    Raises: ConfigError for a missing file, a loop, a tag, text that is no YAML, or a top level that is no mapping.
    """
    merged: dict[str, Any] = {}
    for _, values in read_yaml_files(path):
        merged = _merge(merged, values)
    return merged


def read_yaml_files(path: str | Path) -> list[tuple[Path, dict[str, Any]]]:
    """The files that ``read_yaml_chain`` merges with what each says itself, the farthest base first. Raises: as there."""
    found: list[tuple[Path, dict[str, Any]]] = []
    _read(shipped_config(path), [], found)
    return found


def shipped_config(path: str | Path) -> Path:
    """The file that a name such as ``configs/world/minvis_lite0.yaml`` means: the user's, else the one that comes with us."""
    given = Path(path)
    if not given.is_absolute() and given.parts[:1] == ("configs",) and not given.exists():
        return next((file for file in (folder / given for folder in _SHIPPED) if file.is_file()), given)
    return given


def _read(path: Path, chain: list[Path], found: list[tuple[Path, dict[str, Any]]]) -> None:
    """Append to ``found`` the file's bases, then the file; ``chain`` leads from the file that was asked for to this one."""
    try:
        resolved = path.resolve()
    except (OSError, ValueError, RuntimeError) as error:  # a zero byte; links in a circle
        raise ConfigError(f"{chain[-1] if chain else path}: {path} is no path ({_first_line(error)}).") from error
    if resolved in chain:
        loop = " → ".join(p.name for p in [*chain, resolved])
        raise ConfigError(f"{chain[0]}: {BASE_KEY} forms a loop ({loop}). Remove one of the references.")
    if len(chain) + len(found) >= MAX_YAML_FILES:  # lists of bases with lists of bases double at each file
        first = chain[0] if chain else path
        raise ConfigError(f"{first}: stands on more than {MAX_YAML_FILES} files through {BASE_KEY}. Join some of them.")
    values = _parse(path, chain)
    for base in _bases(path, values.pop(BASE_KEY, None)):
        _read(base, [*chain, resolved], found)
    found.append((path, values))


def _bases(path: Path, bases: object) -> list[Path]:
    """The files that ``_BASE_`` of ``path`` names: one, or a list of which the later override the earlier."""
    names = [] if bases is None else bases if isinstance(bases, list) else [bases]
    paths = []
    for base in names:
        if not isinstance(base, str):
            raise ConfigError(f"{path}: {BASE_KEY} is {shown(base)}, expected the path of a YAML file, or a list of paths.")
        try:
            paths.append(path.parent / Path(base).expanduser())  # an absolute one replaces the folder
        except RuntimeError as error:
            raise ConfigError(f"{path}: {BASE_KEY} {shown(base)} is in the home of nobody known here.") from error
    return paths


def _parse(path: Path, chain: list[Path]) -> dict[str, Any]:
    text = _text(path, chain)
    try:
        values = _load(text, path)
    except yaml.constructor.ConstructorError as error:
        raise ConfigError(f"{path}: {error.problem}. Tags that build Python objects are refused.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        reason = str(getattr(error, "problem", None) or error).splitlines()[0]
        raise ConfigError(f"{path}:{where} is not valid YAML ({reason}).") from error
    except ConfigError:
        raise
    except (
        ValueError,
        OverflowError,
        TypeError,
        AttributeError,
        LookupError,
    ) as error:  # a date or number that is none; a wrong `!!omap`
        raise ConfigError(f"{path}: is not valid YAML ({_first_line(error)}).") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: is nested too deeply for a configuration file.") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: holds a {type(values).__name__}, expected KEY: value lines.")
    return values


def _text(path: Path, chain: list[Path]) -> str:
    asked = f" ({BASE_KEY} of {chain[-1]})" if chain else ""
    try:
        size = path.stat().st_size
        if not path.is_dir() and not path.is_file():  # a device or a pipe has no end
            raise ConfigError(f"{path}: cannot be read{asked}: is no ordinary file.")
        if size > MAX_YAML_BYTES:
            raise ConfigError(f"{path}: has {size} bytes, the limit of a configuration file is {MAX_YAML_BYTES}.")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read{asked}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text (byte {error.start}).") from error


def _load(text: str, path: Path) -> Any:  # noqa: ANN401  the top level can be anything
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        if _size(root, {}) > MAX_YAML_NODES:
            raise ConfigError(f"{path}: its aliases stand for more than {MAX_YAML_NODES} values. Write them out.")
        return loader.construct_document(root)
    finally:
        loader.dispose()


def _size(node: yaml.Node, known: dict[int, float]) -> float:
    """Number of values below a node, with aliases counted each time; infinite where a node holds itself."""
    if id(node) not in known:
        known[id(node)] = math.inf
        items = node.value if isinstance(node, yaml.SequenceNode | yaml.MappingNode) else ()
        children = [child for item in items for child in (item if isinstance(item, tuple) else (item,))]
        known[id(node)] = 1 + sum(_size(child, known) for child in children)
    return known[id(node)]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged
