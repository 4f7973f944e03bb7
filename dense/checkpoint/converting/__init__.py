"""Checkpoints of others → our names and back; one file per layout.

``recognition``               which layout a file has, and how it fits a model best (start here)
``layout``                    what a layout is; tables of names for both directions
``official``                  Mask2Former, MinVIS, CTVIS, DVIS
``transformers_mask2former``  the transformers library
``detectron2``                ImageNet ResNets of Detectron2
``torchvision``               ImageNet ResNets of torchvision
``pixpro``                    pixel-level pretraining, and what detectors take of it
``swin``                      ImageNet Swin Transformers
``dinov2``                    plain vision transformers: DINOv2's files, and timm's
``dito``                      DITO's JAX parameter trees
"""

from dense.checkpoint.converting.layout import Converted, Layout
from dense.checkpoint.converting.recognition import LAYOUTS, Fit, fit_to_model, layout, recognise

__all__ = ["LAYOUTS", "Converted", "Fit", "Layout", "fit_to_model", "layout", "recognise"]
