"""Data sets of videos as PyTorch sees them: training samples addressed by (epoch, index), test videos by index."""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch.utils.data import Dataset

from dense.data.formats.youtube_vis import VideoRecord
from dense.data.loaders.samplers import SampleKey
from dense.data.loaders.seeding import Stream, generator
from dense.errors import DenseError

__all__ = ["CombinedDataset", "FailedSample", "SizedDataset", "VideoClipDataset", "VideoTestDataset", "drop_unannotated"]

TrainMapper = Callable[[VideoRecord, np.random.Generator], dict[str, Any]]
TestMapper = Callable[[Any], dict[str, Any]]  # of a record, or whatever its mapper takes


class SizedDataset(Protocol):
    """A training set: its length, and a sample for each (epoch, index)."""

    def __len__(self) -> int:
        """Number of samples of one epoch."""
        ...

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        """The sample ``key`` = (epoch, index); equal keys give equal samples."""
        ...


@dataclass(frozen=True)
class VideoClipDataset(Dataset[dict[str, Any]]):
    """Training clips of a list of videos; sample (epoch, index) draws from its own generator (seed, epoch, index).

    Args:
        videos: the records.
        mapper: record and generator -> dictionary for the model.
        seed: of all samples.
    """

    videos: Sequence[VideoRecord]
    mapper: TrainMapper
    seed: int = 0

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        epoch, index = key
        return self.mapper(self.videos[index], generator(Stream.SAMPLE, self.seed, epoch, index))


@dataclass(frozen=True)
class FailedSample:
    """An error on its way out of a worker: PyTorch would wrap its one line into a traceback of the worker."""

    error: DenseError


@dataclass(frozen=True)
class CombinedDataset(Dataset["dict[str, Any] | FailedSample"]):
    """Several training sets as one, addressed by (data set, epoch, index)."""

    datasets: Sequence[SizedDataset]

    def __getitem__(self, key: SampleKey) -> dict[str, Any] | FailedSample:
        source, epoch, index = key
        try:
            return self.datasets[source][epoch, index]
        except DenseError as error:
            return FailedSample(error)


@dataclass(frozen=True)
class VideoTestDataset(Dataset[dict[str, Any]]):
    """Whole videos for testing, in the file's order."""

    videos: Sequence[Any]
    mapper: TestMapper

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.mapper(self.videos[index])


def drop_unannotated(videos: Sequence[VideoRecord], categories: Container[int] | None = None) -> list[VideoRecord]:
    """Videos with at least one object that is not a crowd and is visible in some frame; for training only.

    Args:
        videos: the records.
        categories: ids of the categories that count; ``None`` = all.
    """
    return [
        video
        for video in videos
        if any(
            not track.iscrowd
            and (categories is None or track.category_id in categories)
            and any(mask is not None for mask in track.segmentations)
            for track in video.tracks
        )
    ]
