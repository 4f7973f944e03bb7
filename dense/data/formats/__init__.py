"""Readers and writers of data files; each checks what it reads and names file, record and id of what is wrong.

``youtube_vis``    YouTube-VIS 2019/2021/2022 and OVIS annotations: ``read_youtube_vis`` → ``VideoDataset`` (start here)
``video_results``  result files of video instance segmentation: read, write, from a predictor's ``VideoResult``
``mask_tracks``    the masks of one object through a video, in any COCO form, to compressed RLE
``records``        ids, counts and lists out of untrusted JSON

Nothing here knows torch or Detectron2.
"""

from dense.data.formats.video_results import (
    ResultRecord,
    read_video_results,
    video_result_to_records,
    write_video_results,
)
from dense.data.formats.youtube_vis import (
    AnnotationsMissingError,
    Category,
    ObjectTrack,
    VideoDataset,
    VideoRecord,
    read_youtube_vis,
)

__all__ = [
    "AnnotationsMissingError",
    "Category",
    "ObjectTrack",
    "ResultRecord",
    "VideoDataset",
    "VideoRecord",
    "read_video_results",
    "read_youtube_vis",
    "video_result_to_records",
    "write_video_results",
]
