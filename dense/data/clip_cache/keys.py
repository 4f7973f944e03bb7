"""What cached clips depend on: configuration, data and weights. A cache of others is refused."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dense.errors import ConfigError

if TYPE_CHECKING:
    from detectron2.config import CfgNode

    from dense.data.loaders.clip_dataset import SizedDataset

__all__ = ["CacheKeys", "check_weights", "config_values", "data_digest", "weights_digest"]

#: keys that change neither a sample nor what a frozen segmenter makes of it
_IRRELEVANT = (
    "OUTPUT_DIR",
    "SEED",  # ``CacheKeys.seed``: a training with another seed differs in order, noise and first weights only
    "VERSION",
    "CUDNN_BENCHMARK",
    "SOLVER",
    "TEST",
    "VIS_PERIOD",
    "DATASETS.CACHE",
    "DATASETS.DATASET_RATIO",
    "DATASETS.DATASET_TYPE_TEST",
    "DATASETS.PROPOSAL",
    "DATASETS.TEST",
    "DATASETS.PRECOMPUTED",
    "DATALOADER.NUM_WORKERS",
    "INPUT.MIN_SIZE_TEST",
    "INPUT.MAX_SIZE_TEST",
    "MODEL.ASSOCIATION",
    "MODEL.CL_PLUGIN",
    "MODEL.DEVICE",
    "MODEL.META_ARCHITECTURE",
    "MODEL.REFINER",
    "MODEL.TRACKER",
    "MODEL.VIDEO_HEAD",
    "MODEL.WEIGHTS",
    "MODEL.MASK_FORMER.CLASS_WEIGHT",
    "MODEL.MASK_FORMER.CRITERION_NAME",
    "MODEL.MASK_FORMER.DEEP_SUPERVISION",
    "MODEL.MASK_FORMER.DICE_WEIGHT",
    "MODEL.MASK_FORMER.IMPORTANCE_SAMPLE_RATIO",
    "MODEL.MASK_FORMER.MASK_WEIGHT",
    "MODEL.MASK_FORMER.NO_OBJECT_WEIGHT",
    "MODEL.MASK_FORMER.OVERSAMPLE_RATIO",
    "MODEL.MASK_FORMER.REID_BRANCH",
    "MODEL.MASK_FORMER.TEST",
    "MODEL.MASK_FORMER.TRAIN_NUM_POINTS",
)
_SAMPLES = 8  # of a data set that are read for its digest


@dataclass(frozen=True)
class CacheKeys:
    """All that decides what is in a cache.

    Attributes:
        config: configuration value by dotted key, as text; without those that do not matter.
        data: digest of each training set by its name.
        weights: digest of backbone and segmenter.
        seed: of the samples' augmentation.
    """

    config: dict[str, str]
    data: dict[str, str]
    weights: str
    seed: int

    def as_json(self) -> dict[str, Any]:
        """For ``cache.json``; ``CacheKeys(**value)`` is the way back."""
        return asdict(self)

    def check(self, config: Mapping[str, str], data: Mapping[str, str], where: Path) -> None:
        """Compare with those of now; for the weights, which the model knows, see ``check_weights``.

        Raises: ConfigError naming the first thing that differs.
        """
        for key in sorted({*self.config, *config}):
            if self.config.get(key) != config.get(key):
                raise ConfigError(
                    f"{where}: made with {key} {self.config.get(key, '(absent)')}, now {config.get(key, '(absent)')}. {_REMEDY}"
                )
        if self.data != data:
            changed = [name for name in data if self.data.get(name) != data[name]] or list(data)
            raise ConfigError(f"{where}: made of other data; {', '.join(map(repr, changed))} changed since. {_REMEDY}")


_REMEDY = "Make the cache again with cache_segmenter.py, or train without it (DATASETS.CACHE '')."


def check_weights(made_by: str, model: str, where: str) -> None:
    """Raises: ConfigError if a cache was made by another segmenter than the model's; both as ``weights_digest``."""
    if made_by != model:
        raise ConfigError(
            f"{where}: made by another segmenter ({made_by[:12]}, the model's is {model[:12]}). Check MODEL.WEIGHTS. {_REMEDY}"
        )


def config_values(cfg: "CfgNode") -> dict[str, str]:
    """The values that matter, by dotted key."""
    return {key: value for key, value in _flat(cfg, "") if not _is_irrelevant(key)}


def _flat(node: Mapping[str, Any], prefix: str) -> list[tuple[str, str]]:
    values: list[tuple[str, str]] = []
    for name, value in node.items():
        key = f"{prefix}{name}"
        values += _flat(value, f"{key}.") if isinstance(value, Mapping) else [(key, _text(value))]
    return values


def _text(value: object) -> str:
    """YAML does not tell tuples from lists, nor do we."""
    return repr(list(value)) if isinstance(value, list | tuple) else repr(value)


def _is_irrelevant(key: str) -> bool:
    return any(key == known or key.startswith(f"{known}.") for known in _IRRELEVANT)


def data_digest(dataset: "SizedDataset", annotations: Path | None) -> str:
    """Digest of a training set: its length, the bytes of its annotation file and a few samples, pixels and targets.

    Args:
        dataset: with its augmentation.
        annotations: annotation file, where the set has one.
    """
    digest = hashlib.sha256(str(len(dataset)).encode())
    if annotations is not None and annotations.is_file():
        with annotations.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    count = min(_SAMPLES, len(dataset))
    for i in range(count):
        _add(digest, dataset[0, i * len(dataset) // count])
    return digest.hexdigest()


def weights_digest(tensors: Mapping[str, Tensor]) -> str:
    """Digest of names, shapes and values of a state dict; the device does not matter."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        _add(digest, tensors[name])
    return digest.hexdigest()


def _add(digest: Any, value: object) -> None:  # noqa: ANN401  hashlib has no public type
    """Tensors inside lists, dicts and dataclasses; file names, which move with a data set's folder, do not count."""
    if isinstance(value, Tensor):
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(f"{value.dtype}{tuple(value.shape)}".encode())
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    elif isinstance(value, Mapping):
        for name in sorted(value):
            _add(digest, value[name])
    elif isinstance(value, list | tuple):
        for item in value:
            _add(digest, item)
    elif hasattr(value, "__dataclass_fields__"):
        _add(digest, vars(value))
