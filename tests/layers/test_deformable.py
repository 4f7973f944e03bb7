"""Deformable attention as a module: the reference's outputs and float64 gradients, initial offsets, padding."""

import pytest
import torch

from dense.layers import DeformableAttention

MODULES = ["small", "wide", "box", "adapter"]


def build(parity, arrays, dtype):
    width, levels, heads, points = (int(v) for v in arrays["config"])
    module = parity.load_filled(DeformableAttention(width, levels, heads, points), "attn.").to(dtype)
    inputs = [arrays.tensor(name).to(dtype).requires_grad_() for name in ("query", "reference_points", "input")]
    mask = arrays.tensor("padding_mask") if "padding_mask" in arrays else None
    return module, inputs, module(*inputs, arrays.tensor("shapes"), mask)


@pytest.mark.golden
@pytest.mark.parametrize("name", MODULES)
def test_deformable_attention__float32__equals_reference(golden, parity, name):
    """Catches a wrong order of heads, levels and points, masked values that still count, box references scaled wrongly."""
    arrays = parity.Arrays(golden("msdeform.npz"), f"module_{name}.")
    assert arrays.distance("f32.output", build(parity, arrays, torch.float32)[2]) < 1e-5


@pytest.mark.golden
@pytest.mark.parametrize("name", MODULES)
def test_deformable_attention__float64__gradients_equal_reference(golden, parity, name):
    """Catches wrong derivatives by inputs and parameters, which only training would show."""
    arrays = parity.Arrays(golden("msdeform.npz"), f"module_{name}.")
    module, inputs, output = build(parity, arrays, torch.float64)
    output.backward(arrays.tensor("grad_output").double())
    assert arrays.distance("f64.output", output) < 1e-10
    for tensor, key in zip(inputs, ("query", "reference_points", "input"), strict=True):
        assert arrays.distance(f"f64.grad_{key}", tensor.grad) < 1e-10
    stored = [key for key in arrays.values if key.startswith("f64.grad_param.")]
    assert len(stored) >= 4
    for key in stored:
        assert arrays.distance(key, module.get_parameter(key.removeprefix("f64.grad_param.")).grad) < 1e-10


@pytest.mark.golden
@pytest.mark.parametrize(("heads", "levels", "points"), [(8, 3, 4), (4, 2, 2), (12, 1, 4), (16, 1, 4)])
def test_deformable_attention__new__offsets_point_in_compass_directions(golden, parity, heads, levels, points):
    """Catches directions that are not scaled to the square, and an order other than head, level, point."""
    arrays = parity.Arrays(golden("msdeform.npz"))
    module = DeformableAttention(heads * 4, levels, heads, points)
    assert arrays.distance(f"init_h{heads}_l{levels}_p{points}.sampling_offsets_bias", module.sampling_offsets.bias) < 1e-5
    assert module.sampling_offsets.weight.abs().max() == 0
    assert module.attention_weights.weight.abs().max() == 0


def test_deformable_attention__padded_values_change__output_stays():
    """Catches a padding mask applied before the value projection, whose bias would leak into padded cells."""
    torch.manual_seed(1)
    module = DeformableAttention(8, 1, 2, 2)
    torch.nn.init.normal_(module.value_proj.bias)
    query, points, value = torch.randn(1, 3, 8), torch.rand(1, 3, 1, 2), torch.randn(1, 12, 8)
    mask = torch.zeros(1, 12, dtype=torch.bool)
    mask[:, 5:] = True
    shapes = torch.tensor([[3, 4]])
    changed = value.clone()
    changed[:, 5:] = 99.0
    assert torch.equal(module(query, points, value, shapes, mask), module(query, points, changed, shapes, mask))
    everything = module(query, points, value, shapes, torch.ones_like(mask))
    assert torch.allclose(everything, module.output_proj.bias.expand_as(everything))


def test_deformable_attention__wrong_arguments__raise():
    """Catches widths that do not split into heads and references of another kind."""
    with pytest.raises(ValueError, match="width: 10"):
        DeformableAttention(10, 1, 4, 2)
    with pytest.raises(ValueError, match="last axis is 3"):
        DeformableAttention(8, 1, 2, 2)(
            torch.zeros(1, 1, 8), torch.zeros(1, 1, 1, 3), torch.zeros(1, 4, 8), torch.tensor([[2, 2]])
        )
