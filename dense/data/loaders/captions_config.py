"""Pictures with captions from a config: INPUT.CAPTIONS (their loader is that of ``pretraining``)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dense.config.checks import check_choice
from dense.data.datasets.captions import resolve_captions
from dense.data.loaders.indexed_dataset import IndexedTrainDataset
from dense.data.mappers.captions import INTERPOLATIONS, CaptionMapper, CaptionSettings
from dense.errors import ConfigError

if TYPE_CHECKING:
    from detectron2.config import CfgNode

__all__ = ["caption_set", "caption_settings_from_config"]


def caption_set(cfg: "CfgNode", name: str, seed: int) -> IndexedTrainDataset:
    """Images and captions of data set ``name``. Raises: ConfigError naming the key; DataError naming what is missing."""
    node = cfg.INPUT.CAPTIONS
    settings = caption_settings_from_config(cfg.INPUT)
    pictures = resolve_captions(name).read(node.IMAGE_COLUMN, node.CAPTION_COLUMN)
    return IndexedTrainDataset(CaptionMapper(pictures, settings, name), len(pictures), seed)


def caption_settings_from_config(inputs: "CfgNode") -> CaptionSettings:
    """Read INPUT.CAPTIONS; images are RGB whatever INPUT.FORMAT says. Raises: ConfigError naming the key."""
    node = inputs.CAPTIONS
    if node.SIZE < 1:
        raise ConfigError(f"INPUT.CAPTIONS.SIZE: {node.SIZE}, expected a side in pixels, 1 or more.")
    return CaptionSettings(
        side=int(node.SIZE),
        area=_range("MIN_AREA", (node.MIN_AREA, 1.0), 1.0),
        aspects=_range("ASPECT", node.ASPECT, float("inf")),
        interpolation=check_choice("INPUT.CAPTIONS.INTERPOLATION", node.INTERPOLATION, INTERPOLATIONS),
        flip=bool(node.FLIP),
    )


def _range(key: str, values: Sequence[float], largest: float) -> tuple[float, float]:
    if len(values) != 2 or not 0 < values[0] <= values[1] <= largest:
        raise ConfigError(f"INPUT.CAPTIONS.{key}: {tuple(values)}, expected 0 < low <= high <= {largest}.")
    return float(values[0]), float(values[1])
