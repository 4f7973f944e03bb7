"""A predictor over the videos of an annotated data set."""

import logging
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from dense.data.formats.youtube_vis import VideoDataset, VideoRecord
from dense.data.mappers.image_reading import read_image
from dense.inference.video_predictor import VideoPredictor
from dense.structures import VideoResult

__all__ = ["predict_videos", "video_frames"]

logger = logging.getLogger(__name__)


def predict_videos(
    predictor: VideoPredictor, dataset: VideoDataset, videos: Sequence[VideoRecord]
) -> Iterator[tuple[VideoRecord, VideoResult]]:
    """Each video with its result; frames are read one by one."""
    for number, video in enumerate(videos, start=1):
        yield video, predictor.predict(video_frames(dataset, video))
        logger.info("video %d/%d (%d frames)", number, len(videos), video.length)


def video_frames(dataset: VideoDataset, video: VideoRecord) -> Iterator[NDArray[np.uint8]]:
    """Frames of a video as ``(H, W, 3)`` uint8 RGB, in order. Raises: DataError naming a file that is missing or broken."""
    for path in dataset.frame_paths(video):
        yield read_image(path, (video.height, video.width))
