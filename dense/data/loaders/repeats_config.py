"""Repeat-factor sampling from a config: DATALOADER.SAMPLER_TRAIN, REPEAT_THRESHOLD, REPEAT_SQRT (Detectron2's keys)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dense.data.loaders.clip_dataset import SizedDataset
from dense.data.loaders.repeats import repeat_factors
from dense.data.mappers.image_annotations import InstanceAnnotations
from dense.errors import ConfigError
from dense.registry import nearest

if TYPE_CHECKING:
    from detectron2.config import CfgNode

__all__ = ["repeats_from_config"]

_EQUAL, _REPEATING = "TrainingSampler", "RepeatFactorTrainingSampler"


def repeats_from_config(cfg: "CfgNode", datasets: Sequence[SizedDataset]) -> list[NDArray[np.float64] | None]:
    """How often each sample of each data set is seen in an epoch; ``None`` = all equally often.

    Raises: ConfigError for an unknown sampler, a threshold that is no share, or data sets without annotated objects.
    """
    node = cfg.DATALOADER
    name = node.SAMPLER_TRAIN
    if name == _EQUAL:
        return [None] * len(datasets)
    if name != _REPEATING:
        known = [_EQUAL, _REPEATING]
        raise ConfigError(f"DATALOADER.SAMPLER_TRAIN: unknown {name!r}.{nearest(name, known)} Expected {' or '.join(known)}.")
    if not 0 < node.REPEAT_THRESHOLD <= 1:
        raise ConfigError(
            f"DATALOADER.REPEAT_THRESHOLD: {node.REPEAT_THRESHOLD}, expected a share of the images (LVIS: 0.001)."
        )
    return [_factors(dataset, float(node.REPEAT_THRESHOLD), bool(node.REPEAT_SQRT)) for dataset in datasets]


def _factors(dataset: SizedDataset, threshold: float, sqrt: bool) -> NDArray[np.float64]:
    annotations = getattr(getattr(dataset, "mapper", None), "annotations", None)
    if not isinstance(annotations, InstanceAnnotations):
        raise ConfigError(
            f"DATALOADER.SAMPLER_TRAIN: {_REPEATING} needs training sets of kind image_instance or image_federated. Set it to"
            f" {_EQUAL}."
        )
    classes = [
        {annotations.class_of(item) for item in annotations.usable(index, masks=False)} for index in range(len(annotations))
    ]
    return repeat_factors(classes, threshold, sqrt)
