"""Running models on videos.

``video_predictor``  ``VideoPredictor``: a whole video, or a stream in constant memory (start here)
``model_source``     configuration, weights file or model → model with its settings
``demo_video``       the ``demo-video`` command
``demo_world``       the ``demo-world`` and ``eval-world`` commands
"""

from typing import Any

__all__ = ["VideoPredictor"]


def __getattr__(name: str) -> Any:  # noqa: ANN401  a module attribute can be anything
    if name == "VideoPredictor":  # torch and Detectron2 are needed only from here on
        from dense.inference.video_predictor import VideoPredictor

        return VideoPredictor
    raise AttributeError(f"module 'dense.inference' has no attribute {name!r}")
