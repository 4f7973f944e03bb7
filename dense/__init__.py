"""Toolbox for dense prediction and video segmentation.

Public face (each imported where it is first used, so that ``import dense`` stays quick and needs neither torch nor Detectron2):

``load_config``, ``build_model``, ``load_checkpoint``   configuration, model, weights
``VideoPredictor``                                      video in, tracks out; whole or as a stream
``ImagePredictor``                                      image in; objects, panoptic and semantic maps out
``evaluation.evaluate_video_instances``                 score a result file, no model needed
``ops.ms_deform_attn``                                  multi-scale deformable attention
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_WHERE = {
    "load_config": "dense.config",
    "build_model": "dense.modeling",
    "load_checkpoint": "dense.checkpoint",
    "ImagePredictor": "dense.inference",
    "VideoPredictor": "dense.inference",
}
_MODULES = (
    "checkpoint",
    "config",
    "data",
    "engine",
    "evaluation",
    "inference",
    "layers",
    "modeling",
    "ops",
    "structures",
    "video",
    "visualization",
)

__all__ = [*_WHERE, "__version__"]


def __getattr__(name: str) -> Any:  # noqa: ANN401  a module attribute can be anything
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"dense.{name}")
    raise AttributeError(f"module 'dense' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE, *_MODULES])
