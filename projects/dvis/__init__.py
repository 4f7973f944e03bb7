"""Video segmentation after Mask2Former, MinVIS and DVIS++.

``config``           configuration keys of this system
``video_segmenter``  per-frame segmenter with queries matched from frame to frame (MinVIS; start here)
``association``      matching of queries between frames
``online``           segmenter and referring tracker (DVIS++)
``offline``          segmenter, tracker and temporal refiner (DVIS++)
``trackers``, ``refiners``, ``contrast``, ``training``, ``results``, ``segmenting``: their parts; ``registries`` of them
"""

from dense.projects.dvis.config import add_config
from dense.projects.dvis.offline import OfflineVideoSegmenter
from dense.projects.dvis.online import OnlineVideoSegmenter
from dense.projects.dvis.video_segmenter import VideoSegmenter

__all__ = ["OfflineVideoSegmenter", "OnlineVideoSegmenter", "VideoSegmenter", "add_config"]
