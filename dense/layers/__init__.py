"""Building blocks of transformers; plain torch, no Detectron2.

``attention``   post- or pre-norm self-attention, cross-attention and feed-forward blocks (start here)
``deformable``  multi-scale deformable attention as a module
``mlp``         stack of linear layers with ReLU between
``position``    sine position encoding of a grid
``windows``     windows over a map of tokens: split, join, shift
"""

from dense.layers.attention import CrossAttentionLayer, FeedForwardLayer, LayerSettings, SelfAttentionLayer
from dense.layers.deformable import DeformableAttention
from dense.layers.mlp import MLP, caffe2_xavier
from dense.layers.position import sine_position_encoding

__all__ = [
    "MLP",
    "CrossAttentionLayer",
    "DeformableAttention",
    "FeedForwardLayer",
    "LayerSettings",
    "SelfAttentionLayer",
    "caffe2_xavier",
    "sine_position_encoding",
]
