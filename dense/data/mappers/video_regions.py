"""Training clips of videos whose every pixel is labelled: segments of VIPSeg, classes of VSPW (DVIS++)."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from dense.data.formats.vipseg import PanopticVideoDataset
from dense.data.formats.vspw import IGNORE_LABEL, SemanticVideoDataset
from dense.data.mappers.frame_sampling import FrameSampler
from dense.data.mappers.frame_targets import FrameTargets
from dense.data.mappers.image_reading import image_tensor, read_image
from dense.data.mappers.video_instances import LazyFrames
from dense.data.transforms import ClipAugmentation, Resize, Size, apply_transforms, shortest_edge_size
from dense.errors import DataError

__all__ = ["LabelledVideos", "PanopticVideoMaps", "SemanticVideoMaps", "VideoMapTestMapper", "VideoMaps", "VideoRegionMapper"]


class LabelledVideos(Protocol):
    """Videos with an ``id`` and a ``length`` in frames, and where their pictures lie."""

    @property
    def videos(self) -> Sequence[Any]:
        """In the order of the set."""
        ...

    def frame_path(self, video: Any, frame: int) -> Path:  # noqa: ANN401  each set has videos of its own
        """Where the picture of a frame (index from 0) lies."""
        ...


@dataclass(frozen=True)
class VideoMaps(ABC):
    """Videos with a map of region numbers per frame, addressed by index.

    Attributes:
        dataset: what was read.
        classes: category id → class index.
    """

    dataset: LabelledVideos
    classes: Mapping[int, int]

    def __len__(self) -> int:
        """Number of videos."""
        return len(self.dataset.videos)

    def name(self, index: int) -> str:
        """Id of a video."""
        return str(self.dataset.videos[index].id)

    def length(self, index: int) -> int:
        """Frames of a video."""
        return int(self.dataset.videos[index].length)

    def picture(self, index: int, frame: int) -> Path:
        """File of a frame's picture."""
        return self.dataset.frame_path(self.dataset.videos[index], frame)

    @abstractmethod
    def regions(self, index: int, frame: int, size: Size) -> tuple[NDArray[np.int32], Mapping[int, int]]:
        """Map ``(H, W)`` of region numbers and the class of each number that counts. Raises: DataError naming the file."""


@dataclass(frozen=True)
class PanopticVideoMaps(VideoMaps):
    """Segments that are no crowds."""

    dataset: PanopticVideoDataset

    def regions(self, index: int, frame: int, size: Size) -> tuple[NDArray[np.int32], Mapping[int, int]]:
        """A segment keeps its number through the video."""
        video = self.dataset.videos[index]
        listed = {s.id: self.classes[s.category_id] for s in video.frames[frame].segments if not s.iscrowd}
        return self.dataset.ids(video, frame), listed


@dataclass(frozen=True)
class SemanticVideoMaps(VideoMaps):
    """Classes of label maps, each one region."""

    dataset: SemanticVideoDataset

    def regions(self, index: int, frame: int, size: Size) -> tuple[NDArray[np.int32], Mapping[int, int]]:
        """The number of a region is its category id."""
        labels = self.dataset.labels(self.dataset.videos[index].frames[frame], size)
        return labels, {k: self.classes[k] for k in np.unique(labels).tolist() if k != IGNORE_LABEL}


@dataclass(frozen=True)
class VideoRegionMapper:
    """Make a training clip: one draw of the transforms for all frames, every region an object of every frame.

    Args:
        maps: the videos.
        sampler: chooses the frames.
        augmentation: draws the transforms; it sees the first frame only, so all frames must have its size.
        bgr: give channels in the order blue, green, red.
    """

    maps: VideoMaps
    sampler: FrameSampler
    augmentation: ClipAugmentation
    bgr: bool = False

    def __call__(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Map one video; every random choice comes from ``rng``.

        Returns: the dictionary of ``VideoInstanceMapper``. ``ids`` are never -1: a region counts in frames without it too,
            with an empty mask (as the published recipes have it).
        Raises: DataError naming the file that is missing, broken or of another size than the first frame.
        """
        frames = self.sampler(self.maps.length(index), rng)
        pictures = {t: read_image(self.maps.picture(index, t)) for t in sorted(set(frames))}
        size = pictures[frames[0]].shape[:2]
        for t, picture in pictures.items():
            if picture.shape[:2] != size:
                raise DataError(
                    f"{self.maps.picture(index, t)}: is {picture.shape[0]}x{picture.shape[1]} pixels (height x width), another"
                    f" frame of its video {size[0]}x{size[1]}. All frames of a video must have one size."
                )
        found = {t: self.maps.regions(index, t, size) for t in pictures}
        classes = self._classes(index, frames, found)
        (transforms,) = self.augmentation.sample([size], rng)
        images, targets = [], []
        for t in frames:
            masks = np.stack([found[t][0] == region for region in classes]) if classes else np.zeros((0, *size), bool)
            image, masks = apply_transforms(transforms, pictures[t], masks)
            images.append(image_tensor(image, self.bgr))
            targets.append(_targets(list(classes.values()), masks))
        return {"image": images, "instances": targets, **_description(self.maps, index, frames, size)}

    def _classes(
        self, index: int, frames: Sequence[int], found: Mapping[int, tuple[NDArray[np.int32], Mapping[int, int]]]
    ) -> dict[int, int]:
        """Region number → class, of all frames of the clip, in the order of the numbers."""
        classes: dict[int, int] = {}
        for t in frames:
            for region, label in found[t][1].items():
                if classes.setdefault(region, label) != label:
                    raise DataError(
                        f"{self.maps.picture(index, t)}: segment {region} is of another category than in an earlier frame."
                        " A segment keeps its id and its category through the video."
                    )
        return dict(sorted(classes.items()))


@dataclass(frozen=True)
class VideoMapTestMapper:
    """Make a whole video readable frame by frame, each resized to a shortest edge; the counterpart of ``VideoTestMapper``.

    Args:
        maps: the videos; their regions are not read.
        min_size: shortest edge in pixels; 0 keeps the original size.
        max_size: limit of the longest edge in pixels.
        bgr: give channels in the order blue, green, red.
    """

    maps: VideoMaps
    min_size: int
    max_size: int
    bgr: bool = False

    def __call__(self, index: int) -> dict[str, Any]:
        """Describe one video; ``image`` is a :class:`LazyFrames`. Raises: DataError if its first frame cannot be read."""
        frames = range(self.maps.length(index))
        height, width = read_image(self.maps.picture(index, 0)).shape[:2]
        video = _description(self.maps, index, frames, (height, width))
        resized = shortest_edge_size((height, width), self.min_size, self.max_size) if self.min_size else (height, width)
        return {**video, "image": LazyFrames(tuple(video["file_names"]), (height, width), Resize(*resized), self.bgr)}


def _description(maps: VideoMaps, index: int, frames: Sequence[int], size: Size) -> dict[str, Any]:
    return {
        "height": size[0],
        "width": size[1],
        "file_names": [str(maps.picture(index, t)) for t in frames],
        "frame_idx": list(frames),
        "video_id": maps.name(index),
        "length": maps.length(index),
        "video_len": maps.length(index),
    }


def _targets(labels: list[int], masks: NDArray[np.bool_]) -> FrameTargets:
    return FrameTargets(
        labels=torch.tensor(labels, dtype=torch.int64),
        ids=torch.arange(len(labels)),
        masks=torch.from_numpy(np.ascontiguousarray(masks)),
    )
