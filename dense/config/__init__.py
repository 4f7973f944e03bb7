"""Configuration: YAML files and ``KEY VALUE`` pairs over Detectron2's defaults and the keys of every system.

``loading``   ``load_config`` (start here): merge, check names and types
``reader``    YAML files and their ``_BASE_`` chains
``keys``      keys of the library's parts, with their meaning
``official``  official names → ours; official keys without effect
``checks``    ranges, multiples and choices that values must keep
``origins``   where each value comes from
``__main__``  ``python -m dense.config show`` and ``diff``

Keys of a system live in ``projects/<name>/config.py``.
"""

from typing import Any

__all__ = ["load_config"]


def __getattr__(name: str) -> Any:  # noqa: ANN401  a module attribute can be anything
    if name == "load_config":  # Detectron2 is needed only from here on
        from dense.config.loading import load_config

        return load_config
    raise AttributeError(f"module 'dense.config' has no attribute {name!r}")
