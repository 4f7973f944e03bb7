"""Views of pictures for pretraining from a config: INPUT.VIEWS (their loader is that of ``pretraining``)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dense.config.checks import check_choice
from dense.data.datasets.unlabelled import resolve_unlabelled
from dense.data.loaders.indexed_dataset import IndexedTrainDataset
from dense.data.mappers.views import ViewMapper, ViewSettings
from dense.data.transforms.views import VIEW_MODES
from dense.errors import ConfigError
from dense.registry import nearest

if TYPE_CHECKING:
    from detectron2.config import CfgNode

__all__ = ["view_set", "view_settings_from_config"]


def view_set(cfg: "CfgNode", name: str, seed: int) -> IndexedTrainDataset:
    """Views of the pictures of data set ``name``. Raises: ConfigError naming the key; DataError naming what is missing."""
    settings = view_settings_from_config(cfg.INPUT)
    pictures = resolve_unlabelled(name).read()
    return IndexedTrainDataset(ViewMapper(pictures, settings, name), len(pictures), seed)


def view_settings_from_config(inputs: "CfgNode") -> ViewSettings:
    """Read INPUT.VIEWS and INPUT.FORMAT. Raises: ConfigError naming the key."""
    node = inputs.VIEWS
    if node.TRANSFORM not in VIEW_MODES:
        hint = nearest(str(node.TRANSFORM), list(VIEW_MODES))
        raise ConfigError(f"INPUT.VIEWS.TRANSFORM: unknown {node.TRANSFORM!r}.{hint} Expected one of {', '.join(VIEW_MODES)}.")
    small = int(node.SMALL_NUM)
    if small < 0:
        raise ConfigError(f"INPUT.VIEWS.SMALL_NUM: {small}, expected 0 or more.")
    for key in ("SIZE", "SMALL_SIZE"):
        if getattr(node, key) < 1:
            raise ConfigError(f"INPUT.VIEWS.{key}: {getattr(node, key)}, expected a side in pixels, 1 or more.")
    return ViewSettings(
        side=int(node.SIZE),
        area=_range("MIN_AREA", (node.MIN_AREA, 1.0), 1.0),
        recipes=VIEW_MODES[node.TRANSFORM],
        sigmas=_range("BLUR_SIGMA", node.BLUR_SIGMA, float("inf")),
        small_number=small,
        small_side=int(node.SMALL_SIZE),
        small_area=_range("SMALL_AREA", node.SMALL_AREA, 1.0),
        reduced=bool(node.REDUCED_DECODING),
        bgr=check_choice("INPUT.FORMAT", inputs.FORMAT, ("RGB", "BGR")) == "BGR",
    )


def _range(key: str, values: Sequence[float], largest: float) -> tuple[float, float]:
    if len(values) != 2 or not 0 < values[0] <= values[1] <= largest:
        raise ConfigError(f"INPUT.VIEWS.{key}: {tuple(values)}, expected two numbers, 0 < low <= high <= {largest}.")
    return float(values[0]), float(values[1])
