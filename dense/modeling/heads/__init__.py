"""Heads registered with Detectron2.

``segmenter``  pixel decoder and mask decoder, joined
"""

from dense.modeling.heads.segmenter import SegmenterHead

__all__ = ["SegmenterHead"]
