"""Attention blocks and MLP against plain formulas."""

import pytest
import torch
import torch.nn.functional as F

from dense.layers import MLP, CrossAttentionLayer, FeedForwardLayer, SelfAttentionLayer


def attend(attention, query, key, value, blocked=None):
    """Multi-head attention by its definition, head by head."""
    width, heads = attention.embed_dim, attention.num_heads
    q, k, v = (
        F.linear(x, w, b)
        for x, w, b in zip((query, key, value), attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3), strict=True)
    )
    parts = []
    for m in range(heads):
        part = slice(m * width // heads, (m + 1) * width // heads)
        score = q[..., part] @ k[..., part].mT / (width // heads) ** 0.5
        if blocked is not None:
            score = score.masked_fill(blocked, -torch.inf)
        parts.append(score.softmax(-1) @ v[..., part])
    return attention.out_proj(torch.cat(parts, -1))


@pytest.mark.parametrize("pre_norm", [False, True])
def test_cross_attention_layer__positions_and_mask__follow_the_formula(pre_norm):
    """Catches positions that reach the values, a mask laid out for other heads or batches, a norm in the wrong place."""
    layer = CrossAttentionLayer(8, 2, pre_norm=pre_norm).double()
    torch.nn.init.normal_(layer.norm.weight)
    x, memory = torch.randn(3, 4, 8).double(), torch.randn(3, 6, 8).double()
    query_position, key_position = torch.randn(4, 8).double(), torch.randn(6, 8).double()
    blocked = torch.rand(3, 4, 6) < 0.5
    blocked[..., 0] = False
    ours = layer(x, memory, query_position=query_position, key_position=key_position, blocked=blocked)
    source = layer.norm(x) if pre_norm else x
    attended = attend(layer.multihead_attn, source + query_position, memory + key_position, memory, blocked)
    expected = x + attended if pre_norm else layer.norm(x + attended)
    assert torch.allclose(ours, expected, atol=1e-10)


@pytest.mark.parametrize("pre_norm", [False, True])
def test_self_attention_layer__position__reaches_query_and_key_only(pre_norm):
    """Catches a position added to the values."""
    layer = SelfAttentionLayer(8, 2, pre_norm=pre_norm).double()
    x, position = torch.randn(2, 5, 8).double(), torch.randn(5, 8).double()
    source = layer.norm(x) if pre_norm else x
    attended = attend(layer.self_attn, source + position, source + position, source)
    expected = x + attended if pre_norm else layer.norm(x + attended)
    assert torch.allclose(layer(x, position), expected, atol=1e-10)


@pytest.mark.parametrize("pre_norm", [False, True])
def test_feed_forward_layer__formula__holds(pre_norm):
    """Catches a missing residual and a norm in the wrong place."""
    layer = FeedForwardLayer(8, 12, pre_norm=pre_norm)
    x = torch.randn(2, 5, 8)
    hidden = layer.linear2(layer.linear1(layer.norm(x) if pre_norm else x).clamp(min=0))
    expected = x + hidden if pre_norm else layer.norm(x + hidden)
    assert torch.allclose(layer(x), expected, atol=1e-6)


def test_mlp__three_layers__relu_between_only():
    """Catches a ReLU after the last layer and wrong widths between."""
    mlp = MLP(4, 6, 3, 3)
    assert [tuple(layer.weight.shape) for layer in mlp.layers] == [(6, 4), (6, 6), (3, 6)]
    x = torch.randn(7, 4)
    first, second, third = mlp.layers
    expected = third(second(first(x).clamp(min=0)).clamp(min=0))
    assert torch.allclose(mlp(x), expected, atol=1e-6)
    torch.nn.init.constant_(third.bias, -5.0)
    assert (mlp(x) < 0).all()
