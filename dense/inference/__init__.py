"""Running models on images and videos.

``video_predictor``  ``VideoPredictor``: a whole video, or a stream in constant memory (start here)
``stream_windows``   ``StreamState``; frames through a video model window by window
``image_predictor``  ``ImagePredictor``: one image
``video_tasks``      from predictions to instances, panoptic maps or semantic maps
``image_files``      an image's results on disk
``map_files``        a video's panoptic and semantic maps on disk
``model_source``     configuration, weights file or model → model with its settings
``demo_video``       the ``demo-video`` command
``demo_image``       the ``demo-image`` command
``pixel_features``   features of single pixels from any backbone; ``similarity_maps``: the ``similarity-map`` command
``pixel_probe``      linear and nearest-neighbour probes on them; ``probe_command``: the ``probe-pixels`` command
``demo_world``       the ``demo-world`` and ``eval-world`` commands
"""

import importlib
from typing import Any

__all__ = ["ImagePredictor", "VideoPredictor"]

_WHERE = {"ImagePredictor": "dense.inference.image_predictor", "VideoPredictor": "dense.inference.video_predictor"}


def __getattr__(name: str) -> Any:  # noqa: ANN401  a module attribute can be anything
    if name in _WHERE:  # torch and Detectron2 are needed only from here on
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'dense.inference' has no attribute {name!r}")
