"""From whatever names a model (configuration, weights file, zoo name, module) to the model and its settings."""

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from dense.checkpoint.reading import read_metadata
from dense.data.datasets import resolve_dataset
from dense.errors import CheckpointError, ConfigError, DenseError
from dense.registry import nearest

__all__ = ["LoadedModel", "load_model", "zoo_names", "zoo_weights"]

_WEIGHTS = Path(__file__).resolve().parents[2] / "weights"


@dataclass(frozen=True)
class LoadedModel:
    """A model in evaluation mode with the configuration it was built from (``None`` if it came as a module) and category names."""

    model: nn.Module
    cfg: Any
    categories: tuple[str, ...]


def zoo_names() -> list[str]:
    """Names of the models whose weights lie in the repository."""
    return sorted(p.stem for p in _WEIGHTS.glob("*.safetensors"))


def zoo_weights(name: str) -> Path:
    """Weights file of a zoo name. Raises: ConfigError suggesting the nearest name."""
    path = _WEIGHTS / f"{name}.safetensors"
    if not path.is_file():
        raise ConfigError(f"model {name!r}: is no configuration, weights file or zoo name.{nearest(name, zoo_names())}")
    return path


def load_model(source: Any, overrides: Sequence[Any] = ()) -> LoadedModel:  # noqa: ANN401  a module, a node or a path
    """Build or take a model.

    Args:
        source: a module; a ``CfgNode``; a ``.yaml`` file; a ``.safetensors`` file that carries its configuration; or a zoo name.
        overrides: ``KEY VALUE`` pairs over the configuration (not for modules).

    Raises: ConfigError, CheckpointError.
    """
    from dense.config.loading import load_config
    from dense.modeling.builder import build_model

    if isinstance(source, nn.Module):
        return LoadedModel(source.eval(), None, ())
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if path.suffix in {".yaml", ".yml"}:
            cfg = load_config(path, overrides)
        else:
            return _from_weights(path if path.suffix or path.exists() else zoo_weights(str(source)), overrides)
    else:
        cfg = source
    return LoadedModel(build_model(cfg).eval(), cfg, _categories(cfg))


def _from_weights(path: Path, overrides: Sequence[Any]) -> LoadedModel:
    from dense.config.loading import load_config
    from dense.modeling.builder import build_model

    metadata = read_metadata(path)
    if "config" not in metadata:
        raise CheckpointError(f"{path}: carries no configuration. Give the YAML file, and the weights as MODEL.WEIGHTS.")
    with tempfile.TemporaryDirectory() as folder:
        yaml = Path(folder) / "config.yaml"
        yaml.write_text(metadata["config"], encoding="utf-8")
        cfg = load_config(yaml, ["MODEL.WEIGHTS", str(path), *overrides])
    categories = tuple(json.loads(metadata.get("categories", "[]"))) or _categories(cfg)
    return LoadedModel(build_model(cfg).eval(), cfg, categories)


def _categories(cfg: Any) -> tuple[str, ...]:  # noqa: ANN401
    """Names of the first data set that is known; else ``category 0`` and so on."""
    count = cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
    for name in (*cfg.DATASETS.TEST, *cfg.DATASETS.TRAIN):
        try:
            source = resolve_dataset(name)
            names = source.category_names or source.read().category_names
        except DenseError:
            continue
        if len(names) == count:
            return tuple(names)
    return tuple(f"category {k}" for k in range(count))
