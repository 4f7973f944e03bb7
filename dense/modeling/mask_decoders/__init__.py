"""From queries and features to class and mask predictions.

``masked``  masked-attention transformer decoder (Mask2Former)
"""

from dense.modeling.mask_decoders.masked import MaskedDecoder

__all__ = ["MaskedDecoder"]
