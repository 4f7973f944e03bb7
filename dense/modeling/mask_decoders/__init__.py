"""From queries and features to class and mask predictions.

``masked``  masked-attention transformer decoder (Mask2Former), alone or with a re-identification head
"""

from dense.modeling.mask_decoders.masked import MaskedDecoder, ReidentifyingDecoder

__all__ = ["MaskedDecoder", "ReidentifyingDecoder"]
