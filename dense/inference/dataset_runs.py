"""A predictor over the videos or images of an annotated data set."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from dense.data.formats.youtube_vis import VideoDataset, VideoRecord
from dense.data.mappers.image_reading import read_image
from dense.data.transforms import Size
from dense.inference.image_predictor import ImagePredictor
from dense.inference.video_predictor import VideoPredictor
from dense.structures import ImageResult, VideoResult

__all__ = ["predict_images", "predict_videos", "read_frames", "video_frames"]

logger = logging.getLogger(__name__)

Record = TypeVar("Record")


class _HasLength(Protocol):
    @property
    def length(self) -> int: ...


Video = TypeVar("Video", bound=_HasLength)


def predict_videos(
    predictor: VideoPredictor, videos: Sequence[Video], frames: Callable[[Video], Iterable[NDArray[np.uint8]]]
) -> Iterator[tuple[Video, VideoResult]]:
    """Each video with its result, one video at a time.

    Args:
        predictor: a video predictor.
        videos: records of a data set.
        frames: record → frames ``(H, W, 3)`` uint8 RGB, in order.
    """
    for number, video in enumerate(videos, start=1):
        yield video, predictor.predict(frames(video))
        logger.info("video %d/%d (%d frames)", number, len(videos), video.length)


def predict_images(
    predictor: ImagePredictor, images: Sequence[Record], place: Callable[[Record], Path], size: Callable[[Record], Size | None]
) -> Iterator[tuple[Record, ImageResult]]:
    """Each image with its result.

    Args:
        predictor: an image predictor.
        images: records of a data set.
        place: record → file.
        size: record → (height, width) in pixels that the data set states, ``None`` = any.

    Raises: DataError naming a file that is missing, broken or of another size.
    """
    for number, image in enumerate(images, start=1):
        yield image, predictor.predict(read_image(place(image), size(image)))
        if number % 100 == 0 or number == len(images):
            logger.info("image %d/%d", number, len(images))


def video_frames(dataset: VideoDataset, video: VideoRecord) -> Iterator[NDArray[np.uint8]]:
    """Frames of a video as ``(H, W, 3)`` uint8 RGB, in order. Raises: DataError naming a file that is missing or broken."""
    return read_frames(dataset.frame_paths(video), (video.height, video.width))


def read_frames(paths: Iterable[Path], size: Size | None = None) -> Iterator[NDArray[np.uint8]]:
    """Pictures of a video as ``(H, W, 3)`` uint8 RGB, each read when it is asked for.

    Args:
        paths: files in order.
        size: (height, width) in pixels of all; ``None`` = that of the first.

    Raises: DataError naming a file that is missing, broken or of another size.
    """
    for path in paths:
        image = read_image(path, size)
        size = (image.shape[0], image.shape[1])
        yield image
