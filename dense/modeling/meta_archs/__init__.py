"""Whole models that are no system of their own.

``image_segmenter``  Mask2Former on images: semantic, instance, panoptic
``detectors``        Detectron2's detectors fit for the trainer and the predictors
``fcn_segmenter``    a backbone and a classifier per pixel
``fcos``             FCOS from a configuration
"""

from dense.modeling.meta_archs.detectors import build_detector, is_detector_class, trainable
from dense.modeling.meta_archs.fcn_segmenter import FCNSegmenter
from dense.modeling.meta_archs.fcos import FCOSDetector
from dense.modeling.meta_archs.image_segmenter import ImageSegmenter

__all__ = ["FCNSegmenter", "FCOSDetector", "ImageSegmenter", "build_detector", "is_detector_class", "trainable"]
