"""Images as PyTorch sees them in training: samples addressed by (epoch, index)."""

from dataclasses import dataclass
from typing import Any

from torch.utils.data import Dataset

from dense.data.loaders.seeding import Stream, generator
from dense.data.mappers.image_clips import ImageClipMapper
from dense.data.mappers.image_segmentation import ImageSegmentationMapper

__all__ = ["ImageTrainDataset"]


@dataclass(frozen=True)
class ImageTrainDataset(Dataset[dict[str, Any]]):
    """Training images, or clips made of them; sample (epoch, index) draws from its own generator (seed, epoch, index).

    Args:
        mapper: index and generator -> dictionary for the model.
        seed: of all samples.
    """

    mapper: ImageSegmentationMapper | ImageClipMapper
    seed: int = 0

    def __len__(self) -> int:
        return len(self.mapper.annotations)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        epoch, index = key
        return self.mapper(index, generator(Stream.SAMPLE, self.seed, epoch, index))
