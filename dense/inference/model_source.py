"""From whatever names a model (configuration, weights file, zoo name, module) to the model and its settings."""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from dense.checkpoint.reading import read_metadata
from dense.config.architectures import class_count
from dense.data.datasets import class_names, with_kinds
from dense.data.formats.records import text
from dense.errors import CheckpointError, ConfigError, DenseError, shown
from dense.registry import nearest

__all__ = ["LoadedModel", "load_model", "zoo_names", "zoo_weights"]

_WEIGHTS = Path(__file__).resolve().parents[2] / "weights"


@dataclass(frozen=True)
class LoadedModel:
    """A model in evaluation mode, the configuration it was built from (``None`` if it came as a module), category names."""

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
        source: a module; a ``CfgNode``; a ``.yaml`` file; a ``.safetensors`` file that carries one; or a zoo name.
        overrides: ``KEY VALUE`` pairs over the configuration (not for modules).

    Raises: ConfigError, CheckpointError.
    """
    from detectron2.config import CfgNode

    from dense.config.loading import load_config

    if isinstance(source, nn.Module):
        if overrides:
            raise ConfigError("overrides: the model is built already. Give a configuration instead of a module.")
        return LoadedModel(source.eval(), None, ())
    if isinstance(source, CfgNode):
        return _build(_config_of_text(source.dump(), overrides, "configuration") if overrides else source)
    if not isinstance(source, str | os.PathLike):
        raise ConfigError(
            f"model: is a {type(source).__name__}, expected a module, a CfgNode, a .yaml or .safetensors file, or a zoo name."
        )
    path = Path(source)
    if path.suffix in {".yaml", ".yml"}:
        return _build(load_config(path, overrides))
    return _from_weights(path if path.suffix or path.exists() else zoo_weights(str(source)), overrides)


def _build(cfg: Any, categories: tuple[str, ...] = ()) -> LoadedModel:  # noqa: ANN401  Detectron2 is imported late
    from dense.modeling.builder import build_model

    return LoadedModel(build_model(cfg).eval(), cfg, categories or _categories(cfg))


def _from_weights(path: Path, overrides: Sequence[Any]) -> LoadedModel:
    if path.is_file() and path.suffix != ".safetensors":
        raise ConfigError(f"{path}: is no .safetensors file. Give the YAML file, and the weights as MODEL.WEIGHTS.")
    metadata = read_metadata(path)
    cfg = config_inside(metadata, path, ["MODEL.WEIGHTS", str(path), *overrides])
    return _build(cfg, names_inside(metadata, path))


def config_inside(metadata: Mapping[str, str], path: Path, overrides: Sequence[Any] = ()) -> Any:  # noqa: ANN401
    """The configuration in the header of a weights file, ``KEY VALUE`` pairs over it.

    Raises: CheckpointError if there is none; ConfigError if it is wrong.
    """
    if "config" not in metadata:
        raise CheckpointError(f"{path}: carries no configuration. Give the YAML file, and the weights as MODEL.WEIGHTS.")
    return _config_of_text(metadata["config"], overrides, f"configuration inside {path}")


def _config_of_text(text: str, overrides: Sequence[Any], where: str) -> Any:  # noqa: ANN401
    from dense.config.loading import load_config

    with tempfile.TemporaryDirectory() as folder:
        yaml = Path(folder) / "config.yaml"
        yaml.write_text(text, encoding="utf-8")
        try:
            return load_config(yaml, overrides)
        except ConfigError as error:  # the temporary file means nothing to the user
            raise ConfigError(str(error).replace(str(yaml), where)) from error


def names_inside(metadata: Mapping[str, str], path: Path) -> tuple[str, ...]:
    """Category names in the header of a weights file; none if it has none. Raises: CheckpointError, DataError."""
    try:
        names = json.loads(metadata.get("categories", "[]"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: its list of categories is no JSON ({error}).") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CheckpointError(f"{path}: its categories are {shown(names)}, expected a list of names.")
    return tuple(text(name, f"{path}: categories[{k}]", "a name") for k, name in enumerate(names))


def _categories(cfg: Any) -> tuple[str, ...]:  # noqa: ANN401
    """Names of the first data set that is known; else ``category 0`` and so on."""
    count = class_count(cfg)
    sets = cfg.DATASETS
    for name, kind in (*with_kinds(sets.TEST, sets.DATASET_TYPE_TEST), *with_kinds(sets.TRAIN, sets.DATASET_TYPE)):
        try:
            names = class_names(name, kind)
        except DenseError:
            continue
        if len(names) == count:
            return names
    return tuple(f"category {k}" for k in range(count))
