"""Loaders: an endless iterator of training batches that can start at any step, and a finite one over test videos."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Subset

from dense.data.loaders.clip_dataset import CombinedDataset, FailedSample, SizedDataset
from dense.data.loaders.repeats import RepeatingSampler
from dense.data.loaders.samplers import CombinedSampler, ResumableSampler, SampleKey, shard
from dense.data.loaders.transport import PackedBatch, pack, unpack

__all__ = ["Batch", "TrainLoader", "build_combined_train_loader", "build_test_loader", "build_train_loader", "ordered_samples"]

Batch = list[dict[str, Any]]


class TrainLoader(Iterator[Batch]):
    """Endless iterator of training batches; ``step`` is the number of the batch that comes next.

    Workers start at the first batch and end with :meth:`close` or with the object. The batches do not depend on the number
    of workers.
    """

    def __init__(self, dataset: CombinedDataset, sampler: CombinedSampler, num_workers: int = 0) -> None:
        self.step = sampler.start_step
        self._batches: Iterator[PackedBatch | list[dict[str, Any] | FailedSample]] | None = None
        self._loader = _loader(dataset, sampler, num_workers)

    def __iter__(self) -> "TrainLoader":
        return self

    def __next__(self) -> Batch:
        if self._batches is None:
            self._batches = iter(self._loader)
        batch = _samples(next(self._batches))
        self.step += 1
        return batch

    def close(self) -> None:
        """End the workers, and with them the iteration."""
        self._batches = iter(())


def build_train_loader(
    dataset: SizedDataset,
    batch_size: int,
    *,
    seed: int,
    start_step: int = 0,
    num_workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> TrainLoader:
    """Endless batches of one data set from batch ``start_step`` on.

    Args:
        dataset: ``dataset[epoch, index]`` must give equal samples for equal keys.
        batch_size: samples per batch over all ranks; this rank yields ``batch_size / world_size`` of them.
        seed: of the order.
        start_step: first batch.
        num_workers: processes that read ahead; 0 reads in this process.
        rank, world_size: which part of each batch is this process's.

    Raises: ConfigError, DataError.
    """
    return build_combined_train_loader(
        [dataset],
        [1.0],
        batch_size,
        seed=seed,
        start_step=start_step,
        num_workers=num_workers,
        rank=rank,
        world_size=world_size,
    )


def build_combined_train_loader(
    datasets: Sequence[SizedDataset],
    ratios: Sequence[float],
    batch_size: int,
    *,
    seed: int,
    start_step: int = 0,
    num_workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
    factors: Sequence[NDArray[np.float64] | None] | None = None,
) -> TrainLoader:
    """As :func:`build_train_loader`, each batch from one data set drawn in proportion to ``ratios``.

    ``factors`` has, for a data set whose samples are not seen equally often, how often each is seen in an epoch on average.
    """
    samplers: list[ResumableSampler] = []
    for source, (dataset, weights) in enumerate(zip(datasets, factors or [None] * len(datasets), strict=True)):
        place = batch_size, seed, rank, world_size, source
        if weights is None:
            samplers.append(ResumableSampler(len(dataset), *place))
        else:
            samplers.append(RepeatingSampler.of_factors(weights, *place))
    return TrainLoader(CombinedDataset(datasets), CombinedSampler(samplers, ratios, seed, start_step), num_workers)


def ordered_samples(
    datasets: Sequence[SizedDataset], keys: Sequence[SampleKey], num_workers: int = 0
) -> Iterator[dict[str, Any]]:
    """Chosen training samples (data set, epoch, index) one by one, in this order; arguments as :func:`build_train_loader`."""
    for batch in _loader(CombinedDataset(datasets), [[key] for key in keys], num_workers):
        yield from _samples(batch)


def build_test_loader(dataset: Dataset[dict[str, Any]], rank: int = 0, world_size: int = 1) -> DataLoader[dict[str, Any]]:
    """Each video of this rank's contiguous part once, in order, as a batch of one.

    No worker processes: test videos decode their frames when the model asks for them.
    """
    part = Subset(dataset, shard(len(dataset), rank, world_size))  # type: ignore[arg-type]
    return DataLoader(part, batch_size=1, shuffle=False, collate_fn=_keep_list, generator=torch.Generator())


def _loader(dataset: CombinedDataset, keys: Iterable[list[SampleKey]], num_workers: int) -> "DataLoader[Any]":
    return DataLoader(
        dataset,
        batch_sampler=keys,  # type: ignore[arg-type]
        num_workers=num_workers,
        collate_fn=pack if num_workers else _keep_list,
        worker_init_fn=_limit_threads,
        generator=torch.Generator(),  # PyTorch would draw the workers' seeds (which nothing uses) from global state
    )


def _samples(received: PackedBatch | list[dict[str, Any] | FailedSample]) -> Batch:
    """Raises: the error of a sample that failed in a worker."""
    batch: Batch = []
    for sample in unpack(received) if isinstance(received, PackedBatch) else received:
        if isinstance(sample, FailedSample):
            raise sample.error
        batch.append(sample)
    return batch


def _keep_list(samples: list[Any]) -> list[Any]:
    return samples


def _limit_threads(worker: int) -> None:
    """One thread per worker: the workers themselves are the parallelism."""
    torch.set_num_threads(1)
    if "cv2" in sys.modules:  # only if a mapper uses it: the import takes longer than many batches
        sys.modules["cv2"].setNumThreads(0)
