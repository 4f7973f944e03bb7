"""Heads registered with Detectron2.

``segmenter``        pixel decoder and mask decoder, joined
``res5_extra_norm``  RoI head of C4 detectors with one more norm
"""

from dense.modeling.heads.res5_extra_norm import Res5ROIHeadsExtraNorm
from dense.modeling.heads.segmenter import SegmenterHead

__all__ = ["Res5ROIHeadsExtraNorm", "SegmenterHead"]
