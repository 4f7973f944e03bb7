"""Loader of pictures without annotations from a config: DATASETS, DATALOADER.NUM_WORKERS, SEED, SOLVER.IMS_PER_BATCH.

With gradient accumulation each batch of this loader is one micro-batch, and steps of the loader count micro-batches: step k of
the optimiser begins at loader step ``k * ACCUMULATE``.
"""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dense.data.loaders.build import Batch, TrainLoader
from dense.data.loaders.clip_dataset import CombinedDataset, SizedDataset
from dense.data.loaders.samplers import CombinedSampler, ResumableSampler
from dense.data.mappers.replacement import SKIPPED

if TYPE_CHECKING:
    from detectron2.config import CfgNode

__all__ = ["PretrainingLoader", "pretraining_loader"]

logger = logging.getLogger(__name__)


class PretrainingLoader(TrainLoader):
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


def pretraining_loader(
    cfg: "CfgNode",
    datasets: Sequence[SizedDataset],
    seed: int,
    start_step: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> PretrainingLoader:
    """Endless batches; each epoch is shuffled anew and its last incomplete batch dropped.

    Raises: ConfigError naming the key; DataError for a data set smaller than a batch.
    """
    samplers = [
        ResumableSampler(len(dataset), cfg.SOLVER.IMS_PER_BATCH, seed, rank, world_size, source, drop_last=True)
        for source, dataset in enumerate(datasets)
    ]
    ratios = [float(ratio) for ratio in cfg.DATASETS.DATASET_RATIO]
    return PretrainingLoader(
        CombinedDataset(datasets), CombinedSampler(samplers, ratios, seed, start_step), cfg.DATALOADER.NUM_WORKERS
    )
