"""From a video record to what the model reads: an augmented training clip, or a whole video for testing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dense.data.formats.youtube_vis import ObjectTrack, VideoRecord
from dense.data.mappers.frame_sampling import FrameSampler
from dense.data.mappers.frame_targets import FrameTargets
from dense.data.mappers.image_reading import image_tensor, read_image
from dense.data.transforms import ClipAugmentation, Resize, Size, Transform, apply_transforms, shortest_edge_size
from dense.errors import DataError

__all__ = ["LazyFrames", "VideoInstanceMapper", "VideoTestMapper"]


@dataclass(frozen=True)
class VideoInstanceMapper:
    """Make a training clip of a video: choose frames, read them, augment them together, build the targets.

    Args:
        image_root: folder that the record's file names are relative to.
        category_index: category id of the annotation file -> contiguous class index.
        sampler: chooses the frames.
        augmentation: draws the transforms of all frames of a clip.
        bgr: give channels in the order blue, green, red.
        mapped: ``category_index`` is another data set's: objects of categories that it does not have are left out.
    """

    image_root: Path
    category_index: Mapping[int, int]
    sampler: FrameSampler
    augmentation: ClipAugmentation
    bgr: bool = False
    mapped: bool = False

    def __call__(self, record: VideoRecord, rng: np.random.Generator) -> dict[str, Any]:
        """Map one record; every random choice comes from ``rng``.

        Returns: dict with ``image`` (list of T uint8 tensors (3, H, W)), ``instances`` (list of T
        :class:`FrameTargets`), ``height``, ``width`` (of the original, pixels), ``file_names``, ``frame_idx`` (of the T
        frames), ``video_id``, ``length`` and ``video_len`` (frames of the whole video).
        Raises: DataError naming the file or the record.
        """
        frames = self.sampler(record.length, rng)
        transforms = self.augmentation.sample([(record.height, record.width)] * len(frames), rng)
        tracks = [t for t in _visible_tracks(record, frames) if not self.mapped or t.category_id in self.category_index]
        images = self._read(record, frames)

        clip = _description(record, self.image_root, frames)
        clip["image"], clip["instances"] = [], []
        for t, drawn in zip(frames, transforms, strict=True):
            image, masks = apply_transforms(drawn, images[t], _masks(tracks, t, (record.height, record.width)))
            clip["image"].append(image_tensor(image, self.bgr))
            clip["instances"].append(self._targets(tracks, t, masks, record))
        return clip

    def _read(self, record: VideoRecord, frames: Sequence[int]) -> dict[int, NDArray[np.uint8]]:
        """Image of each chosen frame; a frame that short videos repeat is decoded once."""
        size = (record.height, record.width)
        return {t: read_image(self.image_root / record.file_names[t], size) for t in sorted(set(frames))}

    def _targets(self, tracks: Sequence[ObjectTrack], t: int, masks: NDArray[np.bool_], record: VideoRecord) -> FrameTargets:
        annotated = [track.segmentations[t] is not None for track in tracks]
        labels = [self._label(track, record) if here else -1 for track, here in zip(tracks, annotated, strict=True)]
        # An object that a crop has cut away keeps its class but not its id; a box is empty exactly when its mask is.
        ids = [slot if mask.any() else -1 for slot, mask in enumerate(masks)]
        return FrameTargets(
            labels=torch.tensor(labels, dtype=torch.int64),
            ids=torch.tensor(ids, dtype=torch.int64),
            masks=torch.from_numpy(np.ascontiguousarray(masks)),
        )

    def _label(self, track: ObjectTrack, record: VideoRecord) -> int:
        if track.category_id not in self.category_index:
            raise DataError(
                f"video {record.id}: annotation {track.id} has category {track.category_id}, which the data set does not list."
                " Add it to `categories` or remove the annotation."
            )
        return self.category_index[track.category_id]


@dataclass(frozen=True)
class VideoTestMapper:
    """Make a whole video readable frame by frame, each resized to a shortest edge.

    Args:
        image_root: folder that the record's file names are relative to.
        min_size: shortest edge in pixels; 0 keeps the original size.
        max_size: limit of the longest edge in pixels.
        bgr: give channels in the order blue, green, red.
    """

    image_root: Path
    min_size: int
    max_size: int
    bgr: bool = False

    def __call__(self, record: VideoRecord) -> dict[str, Any]:
        """Describe one video; ``image`` is a :class:`LazyFrames`, so nothing is decoded yet."""
        size = (record.height, record.width)
        resized = shortest_edge_size(size, self.min_size, self.max_size) if self.min_size else size
        video = _description(record, self.image_root, range(record.length))
        video["image"] = LazyFrames(tuple(video["file_names"]), size, Resize(*resized), self.bgr)
        return video


@dataclass(frozen=True)
class LazyFrames(Sequence[Tensor]):
    """The frames of a video as a sequence of ``(3, H, W)`` uint8 tensors, decoded when asked for and never kept.

    A slice is again lazy. Access raises DataError naming the file when a frame is broken or of another size.
    """

    paths: tuple[str, ...]
    size: Size
    transform: Transform
    bgr: bool = False

    @overload
    def __getitem__(self, index: int) -> Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> "LazyFrames": ...
    def __getitem__(self, index: int | slice) -> "Tensor | LazyFrames":
        if isinstance(index, slice):
            return LazyFrames(self.paths[index], self.size, self.transform, self.bgr)
        return image_tensor(self.transform.apply_image(read_image(self.paths[index], self.size)), self.bgr)

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[t] for t in range(len(self.paths)))

    @property
    def image_size(self) -> Size:
        """(height, width) in pixels of the frames as they are given out."""
        return self.transform.output_size(self.size)


def _description(record: VideoRecord, image_root: Path, frames: Sequence[int]) -> dict[str, Any]:
    return {
        "height": record.height,
        "width": record.width,
        "file_names": [str(image_root / record.file_names[t]) for t in frames],
        "frame_idx": list(frames),
        "video_id": record.id,
        "video_len": record.length,
        "length": record.length,
    }


def _visible_tracks(record: VideoRecord, frames: Sequence[int]) -> list[ObjectTrack]:
    """Objects, crowds left out, that are annotated in any of the frames: the fixed slots of the clip."""
    return [track for track in record.tracks if not track.iscrowd and any(track.segmentations[t] is not None for t in frames)]


def _masks(tracks: Sequence[ObjectTrack], t: int, size: Size) -> NDArray[np.bool_]:
    """``(N, H, W)`` masks of the tracks in frame ``t``; only this frame's are decoded."""
    masks = np.zeros((len(tracks), *size), dtype=np.bool_)
    for n, track in enumerate(tracks):
        mask = track.mask(t)
        if mask is not None:
            masks[n] = mask
    return masks
