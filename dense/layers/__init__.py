"""Building blocks of transformers; plain torch, no Detectron2.

``attention``     post- or pre-norm self-attention, cross-attention and feed-forward blocks (start here)
``batch_norm``    batch norm over all devices
``channel_norm``  layer norm over the channels of a map
``cosine``        linear layers and convolutions with normalised input and weights
``deformable``    multi-scale deformable attention as a module
``drop_path``     stochastic depth
``mlp``           feed-forward parts: ReLU stack, GELU, gated
``process_sum``   sums over the processes of a distributed run, with gradients
``position``      sine encoding of a grid, centres of its cells, learnt tables at other sizes
``vision_block``  block of a plain vision transformer
``windows``       windows over a map of tokens: split, join, shift
"""

from dense.layers.attention import CrossAttentionLayer, FeedForwardLayer, LayerSettings, SelfAttentionLayer
from dense.layers.batch_norm import SharedBatchNorm, share_statistics
from dense.layers.channel_norm import ChannelNorm
from dense.layers.cosine import CosineConv2d, CosineLinear, unit_length
from dense.layers.deformable import DeformableAttention
from dense.layers.drop_path import drop_path
from dense.layers.mlp import MLP, FeedForward, GatedFeedForward, caffe2_xavier
from dense.layers.position import cell_centres, resize_position_table, sine_position_encoding
from dense.layers.process_sum import process_count, sum_over_processes
from dense.layers.vision_block import LayerScale, PackedSelfAttention, VisionBlock

__all__ = [
    "MLP",
    "ChannelNorm",
    "CosineConv2d",
    "CosineLinear",
    "CrossAttentionLayer",
    "DeformableAttention",
    "FeedForward",
    "FeedForwardLayer",
    "GatedFeedForward",
    "LayerScale",
    "LayerSettings",
    "PackedSelfAttention",
    "SelfAttentionLayer",
    "SharedBatchNorm",
    "VisionBlock",
    "caffe2_xavier",
    "cell_centres",
    "drop_path",
    "process_count",
    "resize_position_table",
    "share_statistics",
    "sine_position_encoding",
    "sum_over_processes",
    "unit_length",
]
