"""ViT-Adapter over DINOv2: the reference's numbers and names, frozen parts, gradients, weights of the transformer alone."""

import json

import numpy as np
import pytest
import torch
from detectron2.modeling import build_backbone
from torch import nn

from dense import load_config
from dense.checkpoint.writing import save_weights
from dense.errors import CheckpointError, ConfigError
from dense.layers import SharedBatchNorm
from dense.modeling.backbones import TransformerSize, ViTAdapterBackbone
from dense.modeling.backbones.adapter_parts import AdapterGrid, DepthwiseConvolution

TINY = TransformerSize(width=8, depth=4, heads=2, layer_scale=1.0)
NAMES = ["res2", "res3", "res4", "res5"]
MEAN, STD = [123.675, 116.280, 103.530], [58.395, 57.120, 57.375]


def adapter_config(*options):
    keys = ["MODEL.BACKBONE.NAME", "D2VitAdapterDinoV2", "MODEL.VIT_ADAPTER.VIT_WEIGHT", ""]
    return load_config(None, [*keys, *options])


def build(**changes):
    return ViTAdapterBackbone(**{"size": TINY, "grid": 3, **changes})


def lively(backbone):
    """Random values everywhere: the initial ones hide mistakes (no offsets by content, equal weights, factors of 1)."""
    with torch.no_grad():
        for name, value in backbone.named_parameters():
            value.copy_(torch.randn_like(value) / max(1.0, value[0].numel() ** 0.5) + (1.0 if "norm" in name else 0.0))
    return backbone


@pytest.mark.golden
def test_vit_adapter__reference_weights__equal_reference(golden, parity):
    """Catches another order of tokens, reference points, positions at other scales, a wrong map added to a level."""
    arrays = parity.Arrays(golden("backbones.npz"), "vit_adapter_b.")
    with torch.device("meta"):  # random numbers for 100 million weights that are replaced anyway take seconds
        backbone = build_backbone(adapter_config("MODEL.VIT_ADAPTER.NAME", "vitb")).eval()
    own = backbone.state_dict()
    assert {f"backbone.{k}": list(v.shape) for k, v in own.items()} == arrays.shapes()
    fill = parity.fill.__wrapped__  # without its memory: these weights serve once
    filled = {
        name: torch.from_numpy(np.array(fill(f"backbone.{name}", tuple(value.shape))))
        if value.is_floating_point()
        else torch.zeros((), dtype=value.dtype)
        for name, value in own.items()
    }
    backbone.load_state_dict(filled, assign=True)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))
    for size in ("64x96", "64x64"):
        with torch.no_grad():
            maps = backbone(((arrays.tensor(f"{size}.image") - mean) / std)[None])
        for name, expected in backbone.output_shape().items():
            assert arrays.distance(f"{size}.{name}", maps[name]) < 1e-4
            assert maps[name].shape[1:3] == (expected.channels, 64 // expected.stride)


def test_vit_adapter_large__official_names__equal_in_both_directions(golden):
    """Catches keys of published ViT-L checkpoints that find no place, and keys of ours that no checkpoint fills."""
    with torch.device("meta"):
        backbone = build_backbone(adapter_config())
    manifest = json.loads(golden("manifests/VitAdapterL_backbone.json").read_text(encoding="utf-8"))
    assert {f"backbone.{k}": list(v.shape) for k, v in backbone.state_dict().items()} == manifest


def test_vit_adapter__batch__equals_single_images():
    """Catches tokens of one image that reach another; the sides differ."""
    backbone = lively(build()).eval()
    images = torch.randn(3, 3, 32, 96)
    with torch.no_grad():
        together = backbone(images)
        for i in range(3):
            for name, value in backbone(images[i : i + 1]).items():
                torch.testing.assert_close(together[name][i : i + 1], value, atol=1e-4, rtol=1e-4)


def test_depthwise_convolution__three_maps__each_by_itself():
    """Catches a convolution that runs across the border between two maps, or cuts them at wrong places."""
    layer, grid = DepthwiseConvolution(2), AdapterGrid.of_patches(2, 4, torch.zeros(()))
    maps = [torch.randn(1, 2, *size) for size in ((4, 8), (2, 4), (1, 2))]
    with torch.no_grad():
        joined = layer(torch.cat([m.flatten(2).mT for m in maps], dim=1), grid)
        for part, m in zip(grid.split(joined), maps, strict=True):
            torch.testing.assert_close(part, layer.dwconv(m))


def test_adapter_grid__injector_and_extractor__look_at_their_own_centres():
    """Catches points of another map: in evaluation with official weights nobody sees the injectors' ones."""
    grid = AdapterGrid.of_patches(2, 4, torch.zeros(()))
    patches = [[(j + 0.5) / 4, (i + 0.5) / 2] for i in range(2) for j in range(4)]
    assert grid.patch_points.shape == (1, 8, 3, 2)
    assert all(grid.patch_points[0, :, level].tolist() == patches for level in range(3))
    assert grid.adapter_points[0, 32:40, 0].tolist() == patches  # the second map has the patches' size
    assert grid.adapter_points.shape == (1, 32 + 8 + 2, 1, 2)
    assert grid.adapter_shapes.tolist() == [[4, 8], [2, 4], [1, 2]]
    assert grid.patch_shapes.tolist() == [[2, 4]]


@pytest.mark.parametrize("changes", [{"trained_groups": None}, {"injectors": True}])
def test_vit_adapter__derivative__equals_finite_differences(changes):
    """Catches gradients cut by the frozen transformer's switch, or by an injector's way through frozen blocks."""
    backbone = lively(build(**changes)).double().eval()
    image, trained = torch.randn(1, 3, 32, 64).double(), [p for p in backbone.parameters() if p.requires_grad]
    targets = {name: torch.randn(value.shape).double() for name, value in backbone(image).items()}

    def loss():
        return sum((targets[name] * value).sum() for name, value in backbone(image).items())

    direction = [torch.randn_like(p) for p in trained]
    gradients = torch.autograd.grad(loss(), trained)
    slope = sum((g * d).sum() for g, d in zip(gradients, direction, strict=True))
    step, values = 1e-7, []
    with torch.no_grad():
        for sign in (1, -2):
            for parameter, way in zip(trained, direction, strict=True):
                parameter.add_(way, alpha=sign * step)
            values.append(loss())
    torch.testing.assert_close((values[0] - values[1]) / (2 * step), slope, rtol=1e-4, atol=1e-6)


def touched(backbone):
    """Names of parameters with a gradient, after a loss over all maps."""
    backbone.zero_grad(set_to_none=True)
    sum(value.square().sum() for value in backbone(torch.randn(2, 3, 32, 64)).values()).backward()
    return {name for name, parameter in backbone.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize(
    ("options", "blocks", "embedding"),
    [
        ([], [], False),
        (["MODEL.VIT_ADAPTER.FINETUNE", True], [0], False),
        (["MODEL.VIT_ADAPTER.FINETUNE", True, "MODEL.VIT_ADAPTER.FINETUNE_INDEXES", [1, 3]], [1, 3], False),
        (["MODEL.VIT_ADAPTER.FREEZE_VIT", False], [0, 1, 2, 3], True),
    ],
)
def test_vit_adapter__frozen_and_trained_parts__get_gradients_and_modes(options, blocks, embedding):
    """Catches trained blocks without gradient, frozen ones with, frozen ones in training mode, parameters no loss reaches."""
    settings = ViTAdapterBackbone.from_config(adapter_config(*options), None)
    assert settings["checkpointing"]
    backbone = lively(ViTAdapterBackbone(**{**settings, "size": TINY, "grid": 3})).train()
    trainable = {name for name, parameter in backbone.named_parameters() if parameter.requires_grad}
    assert touched(backbone) == trainable  # equal: a distributed run fails on parameters that get no gradient
    inside = {name.removeprefix("vit_module.") for name in trainable if name.startswith("vit_module.")}
    assert {int(name.split(".")[1]) for name in inside if name.startswith("blocks.")} == set(blocks)
    assert ({"pos_embed", "cls_token", "patch_embed.proj.weight"} <= inside) == embedding
    assert not inside & {"norm.weight", "mask_token"}
    assert [i for i, block in enumerate(backbone.vit_module.blocks) if block.training] == blocks
    assert backbone.spm.training
    assert not any(module.training for module in backbone.eval().modules())


def test_vit_adapter__checkpointing__same_maps_and_gradients():
    """Catches extractors that lose gradients when they are recomputed."""
    plain, saving = lively(build(trained_groups=[1])), build(trained_groups=[1], checkpointing=True)
    saving.load_state_dict(plain.state_dict())
    image = torch.randn(2, 3, 32, 32)
    for backbone in (plain, saving):
        sum(value.square().sum() for value in backbone(image).values()).backward()
    for (name, a), (_, b) in zip(plain.named_parameters(), saving.named_parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, msg=name, rtol=1e-4, atol=1e-4)


def test_vit_adapter__injectors__start_as_none_and_then_act():
    """Catches injectors that disturb pretrained weights at the start, or never reach the output."""
    plain, injecting = lively(build()).eval(), build(injectors=True).eval()
    missing, unexpected = injecting.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected
    assert {name.split(".")[2] for name in missing} == {"injector"}
    image = torch.randn(1, 3, 32, 64)
    with torch.no_grad():
        for name, value in injecting(image).items():
            torch.testing.assert_close(value, plain(image)[name])
        injecting.interactions[3].injector.gamma.fill_(1.0)
        assert not injecting(image)["res5"].allclose(plain(image)["res5"], atol=1e-3)


def test_vit_adapter__bfloat16_autocast__stays_near():
    """Catches types that do not fit each other under autocast, and reference points in half precision (a map of 40 cells)."""
    backbone = lively(build()).eval()
    image = torch.randn(1, 3, 32, 640)
    with torch.no_grad():
        exact = backbone(image)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = backbone(image)
    for name in NAMES:
        assert (rough[name].float() - exact[name]).abs().mean() < 0.05 * exact[name].abs().mean()


def test_vit_adapter__file_of_the_transformer__patch_14_is_brought_to_16(tmp_path):
    """Catches DINOv2's own file refused for its patches, or read without changing anything."""
    source = build().vit_module.state_dict()
    ramp = torch.linspace(0, 1, 14)[:, None].expand(14, 14) + 5 * torch.linspace(0, 1, 14)
    save_weights(tmp_path / "vit.safetensors", {**source, "patch_embed.proj.weight": ramp.expand(8, 3, 14, 14).contiguous()})
    backbone = build(vit_weights=str(tmp_path / "vit.safetensors"))
    own = backbone.vit_module.state_dict()
    expected = torch.linspace(0, 1, 16)[:, None].expand(16, 16) + 5 * torch.linspace(0, 1, 16)
    torch.testing.assert_close(own.pop("patch_embed.proj.weight")[3, 1], expected)
    assert all(value.equal(source[name]) for name, value in own.items())


def test_vit_adapter__files_that_do_not_fit__are_named(tmp_path):
    """Catches a frozen transformer that stays random because its file is missing or of another size."""
    with pytest.raises(CheckpointError, match=r"VIT_WEIGHT: .*nowhere\.pth does not exist.*MODEL\.WEIGHTS"):
        build(vit_weights=str(tmp_path / "nowhere.pth"))
    deep = build(size=TransformerSize(width=8, depth=8, heads=2)).vit_module.state_dict()
    save_weights(tmp_path / "deep.safetensors", deep)
    with pytest.raises(CheckpointError, match=r"deep\.safetensors: does not fit MODEL\.VIT_ADAPTER\.NAME: .* unused"):
        build(vit_weights=str(tmp_path / "deep.safetensors"))
    short = {name: value for name, value in build().vit_module.state_dict().items() if not name.startswith("blocks.3.")}
    save_weights(tmp_path / "short.safetensors", short)
    with pytest.raises(CheckpointError, match="missing"):
        build(vit_weights=str(tmp_path / "short.safetensors"))


def test_vit_adapter__model_weights_given__file_of_the_transformer_is_not_asked_for():
    """Catches an evaluation that insists on a file which the whole checkpoint replaces."""
    cfg = adapter_config("MODEL.VIT_ADAPTER.VIT_WEIGHT", "dinov2.pth", "MODEL.WEIGHTS", "whole.pth")
    assert ViTAdapterBackbone.from_config(cfg, None)["vit_weights"] == ""
    cfg = adapter_config("MODEL.VIT_ADAPTER.VIT_WEIGHT", "dinov2.pth", "MODEL.WEIGHTS", "")
    assert ViTAdapterBackbone.from_config(cfg, None)["vit_weights"] == "dinov2.pth"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": TransformerSize(width=8, depth=6, heads=2)}, "depth 6"),
        ({"size": TransformerSize(width=10, depth=4, heads=2)}, "width 10"),
        ({"trained_groups": [0, 4]}, r"FINETUNE_INDEXES: \[4\]"),
    ],
)
def test_vit_adapter__impossible_settings__raise(changes, words):
    """Catches settings that fail deep inside torch, or leave blocks out."""
    with pytest.raises(ConfigError, match=words):
        build(**changes)


def test_vit_adapter__unknown_name__suggests_the_nearest():
    """Catches a KeyError."""
    with pytest.raises(ConfigError, match=r"MODEL\.VIT_ADAPTER\.NAME: unknown 'vitll'\. Did you mean 'vitl'"):
        build_backbone(adapter_config("MODEL.VIT_ADAPTER.NAME", "vitll"))


def test_vit_adapter__side_that_is_no_multiple_of_32__raises():
    """Catches an odd map whose tokens would be cut at wrong places."""
    backbone = build()
    assert backbone.size_divisibility == 32
    with pytest.raises(ValueError, match=r"\(32, 48\).*multiples of 32"):
        backbone(torch.zeros(1, 3, 32, 48))


def test_vit_adapter__statistics__are_shared_over_devices():
    """Catches batch norms that each device of a distributed run would compute for itself."""
    norms = [m for m in build().modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert len(norms) == 10
    assert all(isinstance(norm, SharedBatchNorm) for norm in norms)
