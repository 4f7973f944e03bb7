"""Pixel decoder against the reference's numbers, and its promises."""

import pytest
import torch
from detectron2.layers import ShapeSpec

from dense.modeling.pixel_decoders import DeformablePixelDecoder

NAMES = ["res2", "res3", "res4", "res5"]


def build(channels, width=64, mask_width=48, layers=6, strides=(4, 8, 16, 32)):
    shapes = {n: ShapeSpec(channels=c, stride=s) for n, c, s in zip(NAMES, channels, strides, strict=True)}
    return DeformablePixelDecoder(
        input_shape=shapes,
        encoder_features=["res3", "res4", "res5"],
        width=width,
        mask_width=mask_width,
        norm="GN",
        heads=8,
        layers=layers,
        common_stride=4,
    ).eval()


@pytest.mark.golden
@pytest.mark.parametrize("size", ["even", "odd"])
def test_deformable_pixel_decoder__reference_weights__equal_reference(golden, parity, size):
    """Catches levels in another order, positions in the values, sizes that only fit even maps, a wrong top-down step."""
    arrays = parity.Arrays(golden("mask2former.npz"), "pd.")
    decoder = parity.load_filled(build(arrays["channels"].tolist()), "sem_seg_head.pixel_decoder.")
    with torch.no_grad():
        mask_features, levels = decoder({name: arrays.tensor(f"{size}.in.{name}") for name in NAMES})
    assert arrays.distance(f"{size}.mask_features", mask_features) < 1e-4
    for i, level in enumerate(levels):
        assert arrays.distance(f"{size}.multi_scale.{i}", level) < 1e-4


def test_deformable_pixel_decoder__half_precision__runs_in_float32():
    """Catches an encoder that lets autocast in, where outputs drift."""
    torch.manual_seed(0)
    decoder = build([8, 8, 8, 8], width=32, mask_width=8, layers=1)
    features = {n: torch.randn(1, 8, s, s) for n, s in zip(NAMES, (16, 8, 4, 2), strict=True)}
    with torch.no_grad():
        plain, _ = decoder(features)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed, _ = decoder(features)
    assert mixed.dtype == torch.float32
    assert torch.equal(plain, mixed)


def test_deformable_pixel_decoder__new__starts_as_stated():
    """Catches initial values other than the reference's (they decide how training starts)."""
    decoder = build([8, 8, 8, 8], width=64, mask_width=8, layers=1)
    for projection in decoder.input_proj:
        assert projection[0].bias.abs().max() == 0
        assert projection[0].weight.abs().max() <= (6 / (8 + 64)) ** 0.5  # Xavier's bound
    for conv in (decoder.adapter_1, decoder.layer_1):
        assert conv.bias is None
    assert decoder.adapter_1.activation is None
    assert decoder.mask_features.bias.abs().max() == 0
    assert 0.7 < decoder.transformer.level_embed.std() < 1.3
    assert decoder.transformer.encoder.layers[0].linear1.out_features == 1024


def test_deformable_pixel_decoder__two_steps_down__names_count_from_the_finest():
    """Catches official names in the wrong order when the encoder does not reach stride 8."""
    shapes = {n: ShapeSpec(channels=8, stride=s) for n, s in zip(NAMES, (4, 8, 16, 32), strict=True)}
    decoder = DeformablePixelDecoder(
        input_shape=shapes,
        encoder_features=["res4", "res5"],
        width=32,
        mask_width=8,
        norm="GN",
        heads=4,
        layers=1,
        common_stride=4,
    )
    assert decoder.top_down_features == ["res2", "res3"]
    maps = {n: torch.randn(1, 8, s, s) for n, s in zip(NAMES, (16, 8, 4, 2), strict=True)}
    order = []
    for k in (1, 2):
        decoder.get_submodule(f"layer_{k}").register_forward_hook(lambda *_, k=k: order.append(k))
    mask_features, levels = decoder(maps)
    assert order == [2, 1]
    assert mask_features.shape == (1, 8, 16, 16)
    assert [tuple(level.shape[-2:]) for level in levels] == [(2, 2), (4, 4)]
