"""Loader of views for pretraining from a config: DATASETS, DATALOADER.NUM_WORKERS, SEED, SOLVER.IMS_PER_BATCH, INPUT.VIEWS.

With gradient accumulation each batch of this loader is one micro-batch, and steps of the loader count micro-batches: step k of
the optimiser begins at loader step ``k * ACCUMULATE``.
"""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dense.config.checks import check_choice
from dense.data.datasets.unlabelled import resolve_unlabelled
from dense.data.loaders.build import Batch, TrainLoader
from dense.data.loaders.clip_dataset import CombinedDataset, SizedDataset
from dense.data.loaders.indexed_dataset import IndexedTrainDataset
from dense.data.loaders.samplers import CombinedSampler, ResumableSampler
from dense.data.mappers.views import SKIPPED, ViewMapper, ViewSettings
from dense.data.transforms.views import VIEW_MODES
from dense.errors import ConfigError
from dense.registry import nearest

if TYPE_CHECKING:
    from detectron2.config import CfgNode

__all__ = ["ViewsLoader", "view_set", "view_settings_from_config", "views_loader"]

logger = logging.getLogger(__name__)


class ViewsLoader(TrainLoader):
    """As ``TrainLoader``; says in the log of this process which pictures were replaced, whichever worker met them.

    Each file is named once. ``replaced`` counts the records that show another picture than the one that was asked for,
    ``unreadable`` has the reason of each file met so far. A summary is logged when the loader is closed.
    """

    replaced = 0

    def __init__(self, dataset: CombinedDataset, sampler: CombinedSampler, num_workers: int = 0) -> None:
        super().__init__(dataset, sampler, num_workers)
        self.unreadable: dict[str, str] = {}

    def __next__(self) -> Batch:
        batch = super().__next__()
        for sample in batch:
            skipped: Sequence[tuple[str, str]] = sample.pop(SKIPPED, ())
            self.replaced += bool(skipped)
            for name, reason in skipped:
                if name not in self.unreadable:
                    logger.warning("picture skipped, another one replaces it: %s", reason)
                    self.unreadable[name] = reason
        return batch

    def close(self) -> None:
        """End the workers; log how many pictures were replaced."""
        if self.replaced:
            logger.warning(
                "%d pictures could not be read and were replaced, %d times in all; each is named above",
                len(self.unreadable),
                self.replaced,
            )
            self.replaced = 0
        super().close()


def views_loader(
    cfg: "CfgNode",
    datasets: Sequence[SizedDataset],
    seed: int,
    start_step: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> ViewsLoader:
    """Endless batches of views; each epoch is shuffled anew and its last incomplete batch dropped.

    Raises: ConfigError naming the key; DataError for a data set smaller than a batch.
    """
    samplers = [
        ResumableSampler(len(dataset), cfg.SOLVER.IMS_PER_BATCH, seed, rank, world_size, source, drop_last=True)
        for source, dataset in enumerate(datasets)
    ]
    ratios = [float(ratio) for ratio in cfg.DATASETS.DATASET_RATIO]
    return ViewsLoader(
        CombinedDataset(datasets), CombinedSampler(samplers, ratios, seed, start_step), cfg.DATALOADER.NUM_WORKERS
    )


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
