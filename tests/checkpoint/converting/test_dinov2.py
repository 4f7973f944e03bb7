"""Vision transformers of DINOv2 and timm: equal tokens after conversion, both ways; timm is the authority for both layouts."""

import json

import pytest
import torch
from detectron2.modeling import build_backbone
from torch import nn

from dense import load_checkpoint, load_config
from dense.checkpoint.converting import fit_to_model, layout, recognise
from dense.checkpoint.converting.dinov2 import resize_patch_kernel
from dense.modeling.backbones import DINOV2_SIZES, TransformerSize, VisionTransformer

TINY = TransformerSize(width=32, depth=2, heads=2)
#: timm's arguments, ours, and our size
KINDS = {
    "plain": ({}, {}, TINY),
    "registers": ({"reg_tokens": 3, "no_embed_class": True}, {"registers": 3}, TINY),
    "gated": ({"gated": True}, {}, TransformerSize(width=32, depth=2, heads=2, hidden=48, gated=True)),
}


def randomised(module):
    with torch.no_grad():
        for value in module.parameters():
            value.copy_(torch.randn_like(value) / (value[0].numel() ** 0.5 if value.dim() > 1 else 2.0))
    return module.eval()


def pair(kind):
    """timm's model with random weights, and ours without them."""
    from timm.layers import SwiGLUPacked
    from timm.models.vision_transformer import VisionTransformer as TimmTransformer

    theirs, ours, size = KINDS[kind]
    theirs = dict(theirs)
    if theirs.pop("gated", False):
        theirs |= {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU, "mlp_ratio": 3.0}
    model = TimmTransformer(
        img_size=56, patch_size=14, embed_dim=32, depth=2, num_heads=2, init_values=1.0, num_classes=3, **theirs
    )
    return randomised(model), VisionTransformer(size, patch=14, grid=4, **ours).eval()


def placed(state):
    """Names as in a whole model."""
    return {f"backbone.vit_module.{name}": value for name, value in state.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_timm_vit__converted__equal_tokens_and_back(kind):
    """Catches class token and positions mixed up, registers lost, gate and value exchanged, another norm."""
    theirs, ours = pair(kind)
    report = load_checkpoint(ours, theirs.state_dict(), strict=True)
    assert set(report.dropped) == (set() if report.layout == "ours" else {"head.weight", "head.bias"})
    image = torch.randn(2, 3, 56, 56)
    with torch.no_grad():
        expected = theirs.forward_features(image)
        torch.testing.assert_close(ours(image), expected, rtol=1e-4, atol=1e-4)
    back = layout("timm_vit").from_ours(placed(ours.state_dict())).tensors
    kept = {name: value for name, value in theirs.state_dict().items() if not name.startswith("head.")}
    assert back.keys() == kept.keys()
    assert all(value.equal(kept[name]) for name, value in back.items())


@pytest.mark.parametrize("kind", KINDS)
def test_dinov2__written_from_ours__timm_reads_it_and_gives_equal_tokens(kind):
    """Catches names and positions that are not DINOv2's: timm converts the published files by its own rules."""
    from timm.models.vision_transformer import checkpoint_filter_fn

    theirs, _ = pair(kind)
    _, options, size = KINDS[kind]
    ours = randomised(VisionTransformer(size, patch=14, grid=4, mask_token=True, **options))
    official = layout("dinov2").from_ours(placed(ours.state_dict())).tensors
    assert recognise(official).name == "dinov2"
    again = VisionTransformer(size, patch=14, grid=4, mask_token=True, **options).eval()
    load_checkpoint(again, official, strict=True)
    assert all(value.equal(ours.state_dict()[name]) for name, value in again.state_dict().items())
    theirs.reset_classifier(0)
    image = torch.randn(2, 3, 56, 56)
    by_us = layout("timm_vit").from_ours(placed(ours.state_dict())).tensors
    for state in (checkpoint_filter_fn(dict(official), theirs), by_us):
        theirs.load_state_dict(state)
        with torch.no_grad():
            torch.testing.assert_close(again(image), theirs.forward_features(image), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "registers"), [("vit_small_patch14_dinov2", 0), ("vit_small_patch14_reg4_dinov2", 4)])
def test_timm_dinov2_small__its_own_model__equal_tokens(name, registers):
    """Catches a size of ours that is not DINOv2-S as timm builds it."""
    import timm

    theirs = randomised(timm.create_model(name, img_size=56, num_classes=0))
    ours = VisionTransformer(DINOV2_SIZES["vits"], patch=14, grid=4, registers=registers).eval()
    load_checkpoint(ours, theirs.state_dict(), strict=True)
    image = torch.randn(1, 3, 56, 56)
    with torch.no_grad():
        torch.testing.assert_close(ours(image), theirs.forward_features(image), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["small", "base", "large", "giant"])
def test_timm_dinov2__every_size__names_and_shapes_agree(name):
    """Catches a wrong width, depth, or inner width of the giant (shapes only)."""
    import timm

    with torch.device("meta"):
        theirs = timm.create_model(f"vit_{name}_patch14_dinov2", num_classes=0).state_dict()
        ours = VisionTransformer(DINOV2_SIZES[f"vit{name[0]}"], patch=14, grid=37).state_dict()
    assert {k: v.shape for k, v in theirs.items()} == {k: v.shape for k, v in ours.items()}


def adapter():
    options = ["MODEL.BACKBONE.NAME", "D2VitAdapterDinoV2", "MODEL.VIT_ADAPTER.VIT_WEIGHT", ""]
    with torch.device("meta"):
        return build_backbone(load_config(None, options))


def test_vit_adapter_large__official_backbone__converts_with_nothing_left_both_ways(golden):
    """Catches keys of the official ViT-L backbone that are renamed, dropped or counted as another layout's."""
    manifest = json.loads(golden("manifests/VitAdapterL_backbone.json").read_text(encoding="utf-8"))
    whole = {name: torch.empty(shape, device="meta") for name, shape in manifest.items()}
    whole["sem_seg_head.predictor.query_feat.weight"] = torch.empty(2, 2, device="meta")
    model = nn.Module()
    model.backbone = adapter()
    fit = fit_to_model(whole, model.state_dict())
    assert set(fit.tensors) - set(model.state_dict()) == {"sem_seg_head.predictor.query_feat.weight"}
    assert set(model.state_dict()) <= set(fit.tensors)
    assert not fit.dropped + fit.resized
    assert layout("official").to_ours(whole).tensors.keys() == whole.keys()
    assert layout("official").from_ours(fit.tensors).tensors.keys() == whole.keys()


@pytest.mark.parametrize("place", ["", "backbone."])
def test_dinov2__file_of_the_transformer__finds_its_place_in_a_model(golden, place):
    """Catches DINOv2-L that only fits one kind of model, and kernels of patches 14 that are refused (shapes only)."""
    manifest = json.loads(golden("manifests/VitAdapterL_backbone.json").read_text(encoding="utf-8"))
    inside = {name.removeprefix("backbone.vit_module."): shape for name, shape in manifest.items() if "vit_module" in name}
    file = {name: torch.empty(shape, device="meta") for name, shape in inside.items()}
    file["patch_embed.proj.weight"] = torch.empty(1024, 3, 14, 14, device="meta")
    own = {f"{place}{name}": value for name, value in adapter().state_dict().items()}
    fit = fit_to_model(file, own)
    assert fit.layout == "dinov2"
    assert fit.tensors.keys() == {f"{place}vit_module.{name}" for name in inside}
    assert fit.resized == [f"{place}vit_module.patch_embed.proj.weight"]
    assert all(value.shape == own[name].shape for name, value in fit.tensors.items())
    alone = VisionTransformer(TINY, patch=14, grid=4, mask_token=True).state_dict()
    below = {f"backbone.{name}": value for name, value in alone.items()}
    assert fit_to_model(alone, below).tensors.keys() == below.keys()


def test_resize_patch_kernel__ramp__keeps_its_ends():
    """Catches half-pixel centres, where the ends of a ramp would not stay."""
    ramp = torch.linspace(-1, 2, 14)[:, None].expand(14, 14)
    resized = resize_patch_kernel(ramp.expand(2, 3, 14, 14).half(), 16)
    assert resized.dtype == torch.float16
    torch.testing.assert_close(resized[1, 2].float(), torch.linspace(-1, 2, 16)[:, None].expand(16, 16), atol=2e-3, rtol=0)
