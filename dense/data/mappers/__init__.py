"""From a record of a data set to the dictionary a model reads.

* ``video_instances``: :class:`VideoInstanceMapper` (training clip), :class:`VideoTestMapper` (whole video, read
  lazily through :class:`LazyFrames`). Read first.
* ``frame_sampling``: :func:`sample_frames`, :class:`FrameSampler`: which frames make a clip.
* ``frame_targets``: :class:`FrameTargets`, the objects of one frame.
* ``image_reading``: :func:`read_image`, :func:`image_tensor`.
"""

from dense.data.mappers.frame_sampling import FrameSampler, sample_frames
from dense.data.mappers.frame_targets import FrameTargets
from dense.data.mappers.image_reading import image_tensor, read_image
from dense.data.mappers.video_instances import LazyFrames, VideoInstanceMapper, VideoTestMapper

__all__ = [
    "FrameSampler",
    "FrameTargets",
    "LazyFrames",
    "VideoInstanceMapper",
    "VideoTestMapper",
    "image_tensor",
    "read_image",
    "sample_frames",
]
