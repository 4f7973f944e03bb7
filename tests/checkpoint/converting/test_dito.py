"""DITO's JAX parameter trees: every name both ways, and what a permutation alone would get wrong."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dense import load_checkpoint
from dense.checkpoint.command import main
from dense.checkpoint.converting import fit_to_model, layout, recognise
from dense.checkpoint.converting.dito import from_ours
from dense.checkpoint.reading import read_state_dict
from dense.errors import CheckpointError
from dense.projects.dito import BoxHead, MaskHead, ProposalHead, SimplePyramid, VisionTransformer
from dense.projects.dito.vit import SIZES

HEADS = ("feature_pyramid_fn", "fastrcnn_head_fn")


class Detector(nn.Module):
    """The parts of the detector at their places."""

    def __init__(self, width, depth, heads, channels=256, hidden=1024, *, grid=14):
        super().__init__()
        self.backbone = VisionTransformer(width, depth, heads, grid)
        self.frozen_backbone = VisionTransformer(width, depth, heads, grid)
        self.pyramid, self.proposal_head = SimplePyramid(width, channels), ProposalHead(channels)
        self.box_head, self.mask_head = BoxHead(channels, hidden, width), MaskHead(channels)
        self.temperature = nn.Parameter(torch.ones(1))


class Pretrainer(nn.Module):
    """The parts of the pretrainer that a tree knows."""

    def __init__(self, width, depth, heads, channels, hidden, *, grid=14):
        super().__init__()
        self.backbone = VisionTransformer(width, depth, heads, grid)
        self.pyramid, self.box_head = SimplePyramid(width, channels), BoxHead(channels, hidden, width)


TINY = (64, 2, 1, 8, 16)


def filled(shapes):
    return {name: torch.randn(tuple(shape)) for name, shape in shapes.items()}


@pytest.fixture
def tree():
    """A tree of tiny sizes as the detector writes it."""
    return layout("dito").from_ours(filled({k: v.shape for k, v in Detector(*TINY, grid=3).state_dict().items()})).tensors


def shapes(tensors):
    return {name: tuple(value.shape) for name, value in tensors.items()}


@pytest.mark.parametrize("size", ["B", "L"])
def test_dito__published_manifest__nothing_left_over_either_way(golden, size):
    """Catches paths without a place here, parameters without one there, and shapes in the wrong order of axes."""
    name, shared = f"DITO_ViT{size}16_jax.json", os.environ.get("DENSE_SHARED", "")
    if size == "L" and not shared:
        pytest.skip("the manifest of ViT-L is only among the shared data (DENSE_SHARED)")
    path = golden(f"manifests/{name}") if size == "B" else Path(shared) / "specs" / "manifests" / name
    manifest = json.loads(path.read_text(encoding="utf-8"))
    with torch.device("meta"):
        own = Detector(*SIZES["base" if size == "B" else "large"]).state_dict()
    theirs = {name: torch.empty(shape, device="meta") for name, shape in manifest["params"].items()}
    assert recognise(theirs).name == "dito"
    converted = layout("dito").to_ours(theirs)
    assert shapes(converted.tensors) == shapes(own)
    assert not converted.dropped
    back = layout("dito").from_ours(own)
    assert shapes(back.tensors) == {name: tuple(shape) for name, shape in manifest["params"].items()}
    assert not back.dropped
    assert sum(value.numel() for value in own.values()) == manifest["num_parameters"]


def test_dito__random_tree__comes_back_bit_for_bit(tree):
    """Catches two permutations that are not each other's inverse."""
    ours = layout("dito").to_ours(tree).tensors
    back = layout("dito").from_ours(ours).tensors
    assert back.keys() == tree.keys()
    assert all(value.equal(tree[name]) for name, value in back.items())
    assert all(value.is_contiguous() for value in [*ours.values(), *back.values()])


def test_deconvolution__explicit_dilation_and_correlation__equal_output(tree):
    """Catches kernels that are permuted but not turned by 180°."""
    kernel = tree["task_heads_0/feature_pyramid_fn/ConvTranspose_0/kernel"]  # (2, 2, in, out)
    x = torch.randn(1, 5, 4, kernel.shape[2])
    dilated = torch.zeros(1, 2 * 5 + 1, 2 * 4 + 1, kernel.shape[2])  # zeros between the pixels, one around them
    dilated[:, 1::2, 1::2] = x
    expected = torch.zeros(1, 10, 8, kernel.shape[3])
    for a in range(2):
        for b in range(2):
            expected += dilated[:, a : a + 10, b : b + 8] @ kernel[a, b]
    weight = layout("dito").to_ours(tree).tensors["pyramid.p2.resample.0.weight"]
    actual = F.conv_transpose2d(x.permute(0, 3, 1, 2), weight, stride=2).permute(0, 2, 3, 1)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


def test_convolution__explicit_correlation__equal_output(tree):
    """Catches rows and columns, or inputs and outputs, exchanged."""
    kernel, bias = (tree[f"task_heads_0/region_proposal_head_fn/rpn/{leaf}"] for leaf in ("kernel", "bias"))
    x = torch.randn(1, 4, 5, kernel.shape[2])
    padded, expected = F.pad(x, (0, 0, 1, 1, 1, 1)), bias.expand(1, 4, 5, -1).clone()
    for a in range(3):
        for b in range(3):
            expected += padded[:, a : a + 4, b : b + 5] @ kernel[a, b]
    ours = layout("dito").to_ours(tree).tensors
    actual = F.conv2d(
        x.permute(0, 3, 1, 2), ours["proposal_head.convs.0.weight"], ours["proposal_head.convs.0.bias"], padding=1
    )
    torch.testing.assert_close(actual.permute(0, 2, 3, 1), expected, rtol=1e-4, atol=1e-4)


def test_box_head__linear_layers__region_order_and_x_first(tree):
    """Catches inputs left in the order rows, columns, channels, and corrections with y first."""
    ours, boxes = layout("dito").to_ours(tree).tensors, "task_heads_0/fastrcnn_head_fn/"
    region = torch.randn(3, 7, 7, 8)
    expected = region.flatten(1) @ tree[f"{boxes}fc6/kernel"]
    actual = region.permute(0, 3, 1, 2).flatten(1) @ ours["box_head.linear.weight"].T
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)
    hidden = torch.randn(3, 16)
    dy, dx, dh, dw = (hidden @ tree[f"{boxes}box-predict/kernel"] + tree[f"{boxes}box-predict/bias"]).unbind(1)
    actual = F.linear(hidden, ours["box_head.deltas.weight"], ours["box_head.deltas.bias"])
    torch.testing.assert_close(actual, torch.stack((dx, dy, dw, dh), 1))


def test_attention__two_heads_of_64__equal_output():
    """Catches heads mixed up with their channels, and query, key, value stacked in another order."""
    model = VisionTransformer(128, 1, 2, 2)
    ours = {f"backbone.{k}": v for k, v in filled(shapes(model.state_dict())).items()}
    tree = layout("dito").from_ours(ours).tensors
    place = "visual/transformer/resblocks.0/attn/"
    x = torch.randn(1, 5, 128)
    query, key, value = (
        torch.einsum("bnc,chd->bhnd", x, tree[f"{place}{part}/kernel"] / 8) + tree[f"{place}{part}/bias"][:, None]
        for part in ("query", "key", "value")
    )
    mixed = (query @ key.mT / 8).softmax(-1) @ value
    expected = torch.einsum("bhnd,hdc->bnc", mixed, tree[f"{place}out/kernel"]) + tree[f"{place}out/bias"]
    scaled = dict(ours)
    scaled["backbone.blocks.0.attn.qkv.weight"] = ours["backbone.blocks.0.attn.qkv.weight"] / 8
    load_checkpoint(model, scaled, strict=True)
    with torch.no_grad():
        torch.testing.assert_close(model.blocks[0].attn(x), expected, rtol=1e-3, atol=1e-3)


def test_load_checkpoint__pretraining_tree__fits_pretrainer_and_detector(tree):
    """Catches states of the optimiser taken for weights, and a pretraining file that does not start a detector."""
    kept = {name: value for name, value in tree.items() if any(f"/{head}/" in name for head in HEADS)}
    kept |= {name.replace("vision_model/", "visual/", 1): v for name, v in tree.items() if name.startswith("vision_model/")}
    file = {f"model_state/params/{name.removeprefix('task_heads_0/')}": value for name, value in kept.items()}
    states = {f"model_state/param_states/{name}": value for name, value in kept.items()}
    text = {"model_state/params/text/embedding/kernel": torch.zeros(3, 3)}
    pretrainer, detector = Pretrainer(*TINY, grid=3), Detector(*TINY, grid=3)
    report = load_checkpoint(pretrainer, {**file, **states, **text}, strict=True)
    assert report.layout == "dito"
    assert sorted(report.dropped) == sorted([*states, *text])
    report = load_checkpoint(detector, file)
    assert not report.unused + report.dropped
    assert {name.split(".")[0] for name in report.missing} == {"frozen_backbone", "proposal_head", "mask_head", "temperature"}
    assert detector.backbone.pos_embed[0].equal(tree["vision_model/positional_embedding"])
    back = layout("dito").from_ours({**pretrainer.state_dict(), "log_scale": torch.zeros(1)})
    assert all(value.equal(kept[name]) for name, value in back.tensors.items())
    assert back.tensors.keys() == kept.keys()
    assert back.dropped == ["log_scale"]


def test_load_checkpoint__detector_tree_of_flax__fits_exactly(tree):
    """Catches the prefix of finetuned files, and a temperature that is dropped."""
    detector = Detector(*TINY, grid=3)
    load_checkpoint(detector, {f"optimizer/target/{name}": value for name, value in tree.items()}, strict=True)
    assert detector.temperature.equal(tree["task_heads_0/temperature"])
    assert detector.frozen_backbone.norm.weight.equal(tree["frozen_vision_model/ln_post/scale"])


def test_fit_to_model__transformer_alone__takes_the_trainable_one(tree):
    """Catches a backbone outside a detector that finds no place."""
    model = VisionTransformer(64, 2, 1, 3)
    part = {name: value for name, value in tree.items() if name.startswith("vision_model/")}
    fit = fit_to_model(part, model.state_dict())
    assert shapes(fit.tensors) == shapes(model.state_dict())


def test_to_ours__two_paths_of_one_weight__named():
    """Catches one of two weights taken silently."""
    place = "transformer/resblocks.0/ln_1/scale"
    with pytest.raises(CheckpointError, match=r"both mean backbone\.blocks\.0\.norm1\.weight"):
        layout("dito").to_ours({f"visual/{place}": torch.ones(2), f"vision_model/{place}": torch.ones(2)})


@pytest.mark.parametrize(
    ("name", "shape", "text"),
    [
        ("vision_model/conv1/kernel", (3, 4), "conv1/kernel: shape \\[3, 4\\]"),
        ("task_heads_0/fastrcnn_head_fn/fc6/kernel", (50, 4), "fc6: 50 inputs, expected a multiple of 7 x 7"),
        ("task_heads_0/fastrcnn_head_fn/box-predict/bias", (3,), "box-predict/bias: shape \\[3\\]"),
    ],
)
def test_to_ours__impossible_shape__named(name, shape, text):
    """Catches a foreign traceback where a tree has other axes than the published ones."""
    with pytest.raises(CheckpointError, match=text):
        layout("dito").to_ours({name: torch.zeros(shape)})


def test_from_ours__width_without_whole_heads__says_so():
    """Catches heads of another width written silently: JAX's shapes depend on it, ours do not."""
    ours = {f"backbone.{k}": v for k, v in VisionTransformer(48, 1, 3, 2).state_dict().items()}
    with pytest.raises(CheckpointError, match="48 channels, expected a multiple of 64"):
        layout("dito").from_ours(ours)
    assert from_ours(ours, 16).tensors["visual/transformer/resblocks.0/attn/query/kernel"].shape == (48, 3, 16)


def test_convert_checkpoint__npz_to_ours_and_back__same_arrays(tree, tmp_path, capsys):
    """Catches a tool that neither knows the layout nor NumPy's archives."""
    source, ours, back = tmp_path / "tree.npz", tmp_path / "ours.safetensors", tmp_path / "back.npz"
    np.savez_compressed(source, **{name: value.numpy() for name, value in tree.items()})
    assert main([str(source), str(ours)]) == 0
    assert "layout: dito" in capsys.readouterr().out
    assert shapes(read_state_dict(ours)) == shapes(Detector(*TINY, grid=3).state_dict())
    assert main([str(ours), str(back), "--to", "dito", "--like", str(source)]) == 0
    with np.load(back) as stored:
        assert all(np.array_equal(stored[name], value.numpy()) for name, value in tree.items())
