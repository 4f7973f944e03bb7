"""``python -m dense.config`` (also ``dense config``): show a resolved configuration, compare two."""

import argparse
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from dense.command_line import run_command
from dense.config.loading import default_config, load_config
from dense.config.official import WITHOUT_EFFECT
from dense.config.origins import DEFAULT, find_origins, flatten

__all__ = ["main"]

_USAGE = """usage: dense config show FILE [--changed] [KEY VALUE ...]
       dense config diff A B

show   the resolved configuration as YAML that loads back, with the origin of each value behind it
diff   the keys in which two resolved files differ

exit code: 0 done, no difference; 1 the files differ (or wrong input: then one line on stderr); 2 wrong usage
"""


def main(arguments: Sequence[str]) -> int:
    """Run ``show`` or ``diff``.

    Returns: 0; 1 if ``diff`` finds a difference; 2 for wrong usage.
    Raises: ConfigError for files that cannot be read.
    """
    words = [word for word in arguments if word != "--debug"]
    if not words or words[0] in {"-h", "--help"}:
        (sys.stdout if words else sys.stderr).write(_USAGE)
        return 0 if words else 2
    if words[0] == "show":
        return _show(words[1:])
    if words[0] == "diff":
        return _diff(words[1:])
    sys.stderr.write(f"dense config: {words[0]!r}, expected show or diff.\n{_USAGE}")
    return 2


def _show(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="dense config show", description="Print a resolved configuration as YAML.")
    parser.add_argument("file", metavar="FILE", help="YAML file, ours or an official one")
    parser.add_argument("--changed", action="store_true", help="only what differs from the defaults")
    parser.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="pairs that override the file")
    options = parser.parse_intermixed_args(words)
    cfg = load_config(options.file, options.overrides)
    origins = find_origins(options.file, options.overrides)
    hidden: set[str] = set()
    if options.changed:
        defaults = dict(flatten(default_config()))
        hidden = {key for key, value in flatten(cfg) if _same(value, defaults.get(key))}
    for line in _yaml_lines(cfg, origins, hidden):
        sys.stdout.write(f"{line}\n")
    return 0


def _diff(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="dense config diff", description="Compare two resolved configurations.")
    parser.add_argument("first", metavar="A")
    parser.add_argument("second", metavar="B")
    options = parser.parse_args(words)
    first, second = (dict(flatten(load_config(path))) for path in (options.first, options.second))
    differing = [key for key in first if not _same(first[key], second[key])]  # both have every key
    for key in differing:
        sys.stdout.write(f"{key}: {_text(first[key])} -> {_text(second[key])}\n")
    return 1 if differing else 0


def _same(first: object, second: object) -> bool:
    """Equal as a file would write them: (1, 2) and [1, 2] are, 1 and True are not, not-a-number is equal to itself."""
    return _text(first) == _text(second)


def _yaml_lines(node: Mapping[str, Any], origins: Mapping[str, str], hidden: set[str], prefix: str = "") -> Iterator[str]:
    indent = "  " * prefix.count(".")
    for key, value in node.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            below = list(_yaml_lines(value, origins, hidden, f"{name}."))
            if below:
                yield f"{indent}{key}:"
                yield from below
        elif name not in hidden:
            note = ", no effect" if name in WITHOUT_EFFECT else ""
            yield f"{indent}{key}: {_text(value)}  # {origins.get(name, DEFAULT)}{note}"


def _text(value: object) -> str:
    """A value as YAML on one line."""
    if isinstance(value, float) and math.isfinite(value):
        return repr(value) if "e" not in repr(value) or "." in repr(value) else repr(value).replace("e", ".0e")  # YAML 1.1
    plain = yaml.safe_dump(_listed(value), default_flow_style=True, width=math.inf, allow_unicode=True)
    return plain.removesuffix("\n").removesuffix("\n...").strip()


def _listed(value: object) -> object:
    return [_listed(item) for item in value] if isinstance(value, list | tuple) else value


if __name__ == "__main__":
    raise SystemExit(run_command(lambda: main(sys.argv[1:]), debug="--debug" in sys.argv))
