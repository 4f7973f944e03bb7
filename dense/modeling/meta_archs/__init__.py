"""Whole models that are no system of their own.

``image_segmenter``  Mask2Former on images: semantic, instance, panoptic
"""

from dense.modeling.meta_archs.image_segmenter import ImageSegmenter

__all__ = ["ImageSegmenter"]
