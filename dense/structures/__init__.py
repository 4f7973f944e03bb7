"""Typed results and masks.

``rle``      run-length masks: encode, decode, areas, polygons to RLE, validation (start here)
``results``  what predictors return: ``ImageResult``, ``FrameResult``, ``VideoResult``

Nothing here knows torch or Detectron2.
"""

from dense.structures.results import FrameResult, ImageResult, Segment, Track, VideoResult
from dense.structures.rle import RLE

__all__ = ["RLE", "FrameResult", "ImageResult", "Segment", "Track", "VideoResult"]
