"""What predictors return: an image, one frame of a stream, one object through a video, a whole video."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dense.structures.rle import RLE, bounding_box

__all__ = ["FrameResult", "ImageResult", "Segment", "Track", "VideoResult"]


@dataclass(frozen=True)
class Segment:
    """One segment of a panoptic map, or of the maps of a video.

    Attributes:
        id: value of its pixels in the map, from 1.
        label: contiguous category index, 0 to K-1.
        isthing: an object (True), or all pixels of a stuff category (False).
        area: in pixels.
    """

    id: int
    label: int
    isthing: bool
    area: int


@dataclass(frozen=True)
class ImageResult:
    """What a model found in one image, as far as its tasks are on.

    Attributes:
        height: image height in pixels.
        width: image width in pixels.
        labels: contiguous category index of each object, 0 to K-1; the lists are parallel, best score first.
        scores: in [0, 1].
        masks: RLE at the image's size, from a detector perhaps without a pixel; no masks at all from one that finds boxes only.
        boxes: (x, y, width, height) in pixels as a detector predicts them; ``None`` from a model that predicts masks only.
        panoptic: ``(H, W)`` int32 map of segment ids, 0 = none; ``None`` without the panoptic task.
        segments: the segments of ``panoptic``.
        semantic: ``(H, W)`` class index of each pixel, uint8 (int16 from 256 classes on); ``None`` without the semantic task.
        categories: name of each contiguous category index.
    """

    height: int
    width: int
    labels: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    masks: list[RLE] = field(default_factory=list)
    panoptic: NDArray[np.int32] | None = None
    segments: list[Segment] = field(default_factory=list)
    semantic: NDArray[np.integer] | None = None
    categories: list[str] = field(default_factory=list)
    boxes: list[tuple[float, float, float, float]] | None = None

    def object_boxes(self) -> list[tuple[float, float, float, float]]:
        """(x, y, width, height) in pixels of each object: the model's own boxes, else those around the masks."""
        if self.boxes is not None:
            return self.boxes
        return [(box[0], box[1], box[2], box[3]) for box in map(bounding_box, self.masks)]

    def object_masks(self) -> list[RLE | None]:
        """The mask of each object, ``None`` where the model finds boxes only."""
        return list(self.masks) if self.masks else [None] * len(self.labels)


@dataclass(frozen=True)
class FrameResult:
    """What a stream found in one frame: objects, a panoptic map or a semantic map, by the model's task.

    Attributes:
        index: frame number from 0.
        time_s: presentation time in seconds, relative to the first frame.
        height: frame height in pixels.
        width: frame width in pixels.
        track_ids: identity of each object, constant through the video; the four lists are parallel, one entry per object.
        labels: contiguous category index of each object, 0 to K-1.
        scores: class probability in [0, 1], averaged over the frames seen so far.
        masks: RLE at the frame's size.
        panoptic: ``(H, W)`` int32 map of segment ids, 0 = none; ``None`` without the panoptic task.
        segments: the segments of ``panoptic``; an object keeps its id through the video, and so does each stuff category.
        semantic: ``(H, W)`` class index of each pixel, uint8 (int16 from 256 classes on); ``None`` without the semantic task.
    """

    index: int
    time_s: float
    height: int
    width: int
    track_ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    masks: list[RLE] = field(default_factory=list)
    panoptic: NDArray[np.int32] | None = None
    segments: list[Segment] = field(default_factory=list)
    semantic: NDArray[np.integer] | None = None


@dataclass(frozen=True)
class Track:
    """One object through a video.

    Attributes:
        track_id: identity; several tracks may share one (the same query with another label).
        label: contiguous category index, 0 to K-1.
        score: class probability in [0, 1].
        masks: one RLE per frame, ``None`` where the object is absent.
    """

    track_id: int
    label: int
    score: float
    masks: list[RLE | None]


@dataclass(frozen=True)
class VideoResult:
    """What a model found in a whole video: tracks, panoptic maps or semantic maps, by its task.

    Attributes:
        height: frame height in pixels.
        width: frame width in pixels.
        times_s: presentation time of each of the T frames in seconds.
        tracks: objects, best score first.
        categories: name of each contiguous category index.
        panoptic: ``(T, H, W)`` int32 maps of segment ids, 0 = none; ``None`` without the panoptic task.
        segments: the segments of ``panoptic``; ``area`` counts the pixels of all frames.
        semantic: ``(T, H, W)`` class indices, uint8 (int16 from 256 classes on); ``None`` without the semantic task.
    """

    height: int
    width: int
    times_s: list[float]
    tracks: list[Track] = field(default_factory=list)
    categories: list[str] = field(default_factory=list)
    panoptic: NDArray[np.int32] | None = None
    segments: list[Segment] = field(default_factory=list)
    semantic: NDArray[np.integer] | None = None

    @property
    def num_frames(self) -> int:
        """Number of frames."""
        return len(self.times_s)
