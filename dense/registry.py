"""Own registries (parts that Detectron2 has no registry for) and the one reference upward: ``load_projects``."""

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Generic, TypeVar

from dense.errors import ConfigError

__all__ = ["Registry", "listed", "load_projects", "nearest"]

Entry = TypeVar("Entry", bound=Callable[..., object])


def nearest(name: str, known: list[str]) -> str:
    """``" Did you mean 'x'?"`` for the most similar known name, else the first known names."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else listed(known)


def listed(known: Iterable[str]) -> str:
    """``" Known: a, b."`` with the first dozen names in the order of the alphabet; empty without names."""
    names = sorted(known)
    return f" Known: {', '.join(names[:12])}." if names else ""


class Registry(Generic[Entry]):
    """Names → classes or functions; an unknown name is an error that suggests the nearest."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Entry] = {}

    def register(self, entry: Entry) -> Entry:
        """Decorator: enter a class or function under its own name (a name taken twice is an error)."""
        name = entry.__name__
        if self._entries.get(name, entry) is not entry:
            raise ConfigError(f"{self.kind} {name!r} is registered twice; rename one of them.")
        self._entries[name] = entry
        return entry

    def get(self, name: str) -> Entry:
        """The entry of this name. Raises: ConfigError naming the nearest known one."""
        if name not in self._entries:
            raise ConfigError(f"unknown {self.kind} {name!r}.{nearest(name, list(self._entries))}")
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __contains__(self, name: str) -> bool:
        return name in self._entries


def load_projects() -> list[ModuleType]:
    """Import every package under ``dense.projects`` (this registers their parts); returned in the order of their names."""
    package = importlib.import_module("dense.projects")
    names = sorted(m.name for m in pkgutil.iter_modules(package.__path__) if m.ispkg)
    return [importlib.import_module(f"dense.projects.{name}") for name in names]
