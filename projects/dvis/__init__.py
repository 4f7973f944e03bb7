"""Video segmentation after Mask2Former, MinVIS and DVIS++.

``config``           configuration keys of this system
``video_segmenter``  per-frame segmenter with queries matched from frame to frame (MinVIS; start here)
``association``      matching of queries between frames
"""

from dense.projects.dvis.config import add_config
from dense.projects.dvis.video_segmenter import VideoSegmenter

__all__ = ["VideoSegmenter", "add_config"]
