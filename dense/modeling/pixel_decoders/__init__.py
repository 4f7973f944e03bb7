"""From backbone features to multi-scale features and mask features.

``deformable``  multi-scale deformable attention encoder and one top-down step to stride 4 (Mask2Former)
"""

from dense.modeling.pixel_decoders.deformable import DeformablePixelDecoder

__all__ = ["DeformablePixelDecoder"]
