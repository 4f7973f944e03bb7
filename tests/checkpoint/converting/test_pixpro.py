"""PixPro's pretraining files: official names both ways, into detectors, by the command line, with pickled options inside."""

import argparse
import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from detectron2.modeling import META_ARCH_REGISTRY

from dense import load_checkpoint, load_config
from dense.checkpoint.command import convert, main
from dense.checkpoint.converting import fit_to_model, layout, recognise
from dense.checkpoint.reading import read_state_dict
from dense.errors import CheckpointError

R50 = [
    "MODEL.DEVICE",
    "cpu",
    "MODEL.BACKBONE.FREEZE_AT",
    0,
    "MODEL.RESNETS.STRIDE_IN_1X1",
    False,
    "MODEL.RESNETS.NORM",
    "SyncBN",
]
PRETRAINER = ["MODEL.META_ARCHITECTURE", "PixelPretrainer", "MODEL.BACKBONE.NAME", "build_resnet_backbone"]
PRETRAINER += ["MODEL.RESNETS.OUT_FEATURES", ["res5"]]
INSTANCE = ["PRETRAIN.INSTANCE.NAME", "InstanceConsistency"]
FPN = ["MODEL.META_ARCHITECTURE", "GeneralizedRCNN", "MODEL.BACKBONE.NAME", "build_resnet_fpn_backbone"]
FPN += [
    "MODEL.RESNETS.OUT_FEATURES",
    ["res2", "res3", "res4", "res5"],
    "MODEL.FPN.IN_FEATURES",
    ["res2", "res3", "res4", "res5"],
]
FPN += [
    "MODEL.ANCHOR_GENERATOR.SIZES",
    [[32], [64], [128], [256], [512]],
    "MODEL.RPN.IN_FEATURES",
    ["p2", "p3", "p4", "p5", "p6"],
]
FPN += ["MODEL.ROI_HEADS.NAME", "StandardROIHeads", "MODEL.ROI_HEADS.IN_FEATURES", ["p2", "p3", "p4", "p5"]]
FPN += [
    "MODEL.ROI_BOX_HEAD.NAME",
    "FastRCNNConvFCHead",
    "MODEL.ROI_BOX_HEAD.NUM_FC",
    1,
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION",
    7,
]
C4 = ["MODEL.META_ARCHITECTURE", "GeneralizedRCNN", "MODEL.BACKBONE.NAME", "build_resnet_backbone"]
C4 += ["MODEL.RESNETS.OUT_FEATURES", ["res4"], "MODEL.ROI_HEADS.NAME", "Res5ROIHeads"]
CASES = {"PixPro_R50_pretrain": [], "PixPro_R50_pretrain_instance": INSTANCE}
BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def shapes_of(options):
    """Names and shapes of a model, without its values."""
    cfg = load_config(None, [*R50, *options])
    with torch.device("meta"):
        model = META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)(cfg)
    return model.state_dict()


def official(with_instance=False):
    """The official names, put together from section 14 of the specification; tensors of no size."""

    def norm(name):
        return [f"{name}.{leaf}" for leaf in BATCH_NORM]

    encoder = ["conv1.weight", *norm("bn1")]
    for stage, blocks in enumerate((3, 4, 6, 3), 1):
        for block in range(blocks):
            place = f"layer{stage}.{block}"
            for number in (1, 2, 3):
                encoder += [f"{place}.conv{number}.weight", *norm(f"{place}.bn{number}")]
            if block == 0:
                encoder += [f"{place}.downsample.0.weight", *norm(f"{place}.downsample.1")]
    assert len(encoder) == 318
    head = [f"{layer}.{leaf}" for layer in ("linear1", "linear2") for leaf in ("weight", "bias")] + norm("bn1")
    heads = ["projector", "projector_k"] + (
        ["projector_instance", "projector_instance_k", "predictor"] if with_instance else []
    )
    names = [f"{part}.{name}" for part in ("encoder", "encoder_k") for name in encoder]
    names += [f"{part}.{name}" for part in heads for name in head] + ["value_transform.weight", "value_transform.bias"]
    return {name: torch.full((), float(i)) for i, name in enumerate(names)}


@pytest.mark.parametrize("name", CASES)
def test_pixpro__official_names__are_our_model_and_back(name):
    """Catches an official tensor without a place in our model, one of ours without an official name, two that exchange."""
    tensors = official(with_instance=bool(CASES[name]))
    own = shapes_of([*PRETRAINER, *CASES[name]])
    assert recognise(tensors) is layout("pixpro")
    for given in (tensors, {f"module.{key}": value for key, value in tensors.items()}):
        fit = fit_to_model(given, own)
        assert fit.layout == "pixpro"
        assert set(fit.tensors) == set(own)
        assert not fit.dropped
        assert layout("pixpro").from_ours(fit.tensors).tensors == tensors


@pytest.mark.golden
@pytest.mark.parametrize("name", CASES)
def test_pixpro__manifest__same_names_and_shapes_both_ways(name, shared):
    """Catches a width or a name that differs from the authors' files."""
    manifest = json.loads((shared / "specs" / "manifests" / f"{name}.json").read_text(encoding="utf-8"))
    own = shapes_of([*PRETRAINER, *CASES[name]])
    back = layout("pixpro").from_ours(own)
    assert {key: list(value.shape) for key, value in back.tensors.items()} == manifest["state_dict"]
    assert len(manifest["state_dict"]) == manifest["num_keys"]
    assert not back.dropped


@pytest.mark.parametrize("detector", ["fpn", "c4"])
@pytest.mark.parametrize("names", ["official", "ours"])
def test_pixpro__into_a_detector__only_its_own_parts_are_missing(detector, names):
    """Catches the momentum copy in the place of the backbone, and the last stage of a C4 detector left at random."""
    own, tensors = shapes_of(FPN if detector == "fpn" else C4), official()
    given = tensors if names == "official" else layout("pixpro").to_ours(tensors).tensors
    fit = fit_to_model(given, own)
    assert len(fit.tensors) == 318
    assert set(fit.tensors) <= set(own)
    assert set(fit.dropped) == {name for name in given if not name.startswith(("encoder.", "backbone."))}
    rest = [name for name in own if name not in fit.tensors]
    if detector == "c4":
        last = tensors["encoder.layer4.2.conv3.weight"]
        assert fit.tensors["roi_heads.res5.2.conv3.weight"] is last
        assert all(
            name.startswith(("proposal_generator.", "roi_heads.box_predictor.", "roi_heads.mask_head.")) for name in rest
        )
    else:
        assert fit.tensors["backbone.bottom_up.stem.conv1.weight"] is tensors["encoder.conv1.weight"]
        assert all(name.startswith(("proposal_generator.", "roi_heads.", "backbone.fpn_")) for name in rest)


def test_pixpro__frozen_norms__counters_are_left_out():
    """Catches counters of batch norms reported as unused where the detector's norms are frozen."""
    fit = fit_to_model(official(), shapes_of([*FPN, "MODEL.RESNETS.NORM", "FrozenBN"]))
    assert len(fit.tensors) == 318 - 53
    assert sum(name.endswith("num_batches_tracked") for name in fit.dropped) >= 53


def test_pixpro__pretrained_pyramid_and_towers__find_their_place():
    """Catches towers that stay behind, or land in a detector without such a head."""
    names = ["backbone.bottom_up.stem.conv1.weight", "backbone.fpn_lateral3.weight", "projector.linear1.weight"]
    names += ["target_backbone.fpn_lateral3.weight", "tower.cls_subnet.0.weight", "target_tower.cls_subnet.0.weight"]
    tensors = {name: torch.zeros(1) for name in names}
    own = {"backbone.bottom_up.stem.conv1.weight", "backbone.fpn_lateral3.weight"}
    towers = {"head.cls_subnet.0.weight", "head.cls_subnet.9.weight"}
    fit = fit_to_model(tensors, dict.fromkeys(own | towers, torch.zeros(1)))
    assert set(fit.tensors) == own | {"head.cls_subnet.0.weight"}
    fit = fit_to_model(tensors, dict.fromkeys(own, torch.zeros(1)))
    assert set(fit.tensors) == own
    assert "tower.cls_subnet.0.weight" in fit.dropped


@pytest.fixture
def training_state(tmp_path):
    """A file as the official code writes it: options of the run in an argparse Namespace beside the weights."""
    tensors = official()
    options = argparse.Namespace(batch_size=128, crop=0.08, milestones=[1, 2])
    content = {"opt": options, "model": {f"module.{k}": v for k, v in tensors.items()}, "optimizer": {}, "epoch": 3}
    path = tmp_path / "ckpt_epoch_3.pth"
    torch.save(content, path)
    return path, tensors


def test_pixpro__training_state_with_options__is_read(training_state):
    """Catches an official file that is refused for its argparse Namespace."""
    path, tensors = training_state
    assert read_state_dict(path) == tensors


class Hostile:
    def __reduce__(self):
        return (os.system, ("true",))


def test_pixpro__code_among_the_options__is_refused(tmp_path):
    """Catches a reader that, once it allows one class, allows what hides inside it."""
    path = tmp_path / "bad.pth"
    torch.save({"opt": argparse.Namespace(x=Hostile()), "model": {"a": torch.zeros(1)}}, path)
    with pytest.raises(CheckpointError, match="would run code is refused"):
        read_state_dict(path)
    torch.save({"opt": argparse.ArgumentParser, "model": {"a": torch.zeros(1)}}, path)
    with pytest.raises(CheckpointError, match="would run code is refused"):
        read_state_dict(path)


@pytest.mark.parametrize("suffix", [".pkl", ".pth"])
def test_convert_checkpoint__official_to_detectron2__318_arrays(training_state, tmp_path, suffix, capsys):
    """Catches a Detectron2 file with the copy's or the projector's tensors, or without the mark for matching by endings."""
    path, tensors = training_state
    target = tmp_path / f"backbone{suffix}"
    assert main([str(path), str(target), "--to", "detectron2"]) == 0
    assert "layout: pixpro" in capsys.readouterr().out
    found = read_state_dict(target)
    assert len(found) == 318
    assert found["res4.0.conv2.norm.bias"] == tensors["encoder.layer3.0.bn2.bias"]
    assert found["res5.0.shortcut.norm.weight"] == tensors["encoder.layer4.0.downsample.1.weight"]
    assert found["stem.conv1.norm.running_var"] == tensors["encoder.bn1.running_var"]
    for options in (FPN, C4):
        fit = fit_to_model(found, own := shapes_of(options))
        assert len(fit.tensors) == 318
        assert set(fit.tensors) <= set(own)
    if suffix == ".pkl":
        content = pickle.loads(target.read_bytes())  # noqa: S301  our own file
        assert content["matching_heuristics"] is True
        assert set(content["model"]) == set(found)


@pytest.mark.golden
def test_convert_checkpoint__pkl__detectron2_itself_loads_it(tmp_path):
    """Catches a .pkl that only our reader understands: Detectron2's own, into a C4 detector, by the endings of the names."""
    from detectron2.checkpoint import DetectionCheckpointer

    cfg = load_config(None, [*R50, *C4])
    model = META_ARCH_REGISTRY.get("GeneralizedRCNN")(cfg)
    own = model.state_dict()
    places = {
        name: name.replace("roi_heads.res5.", "backbone.res5.")
        for name in own
        if "stem." in name or "res" in name.split(".")[1]
    }
    wanted = {ours: torch.randn_like(own[name].float()) for name, ours in places.items()}
    path = tmp_path / "backbone.pkl"
    from dense.checkpoint.writing import save_detectron2_pickle

    save_detectron2_pickle(path, convert(wanted, "ours", "detectron2").tensors)
    DetectionCheckpointer(model).load(str(path))
    for name, ours in places.items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(model.state_dict()[name], wanted[ours]), name


def test_weights_of_an_image_network__momentum_copy_follows(tmp_path):
    """Catches a pretraining from given weights whose copy starts at random."""
    from dense import build_model
    from dense.checkpoint.writing import save_weights

    tiny = ["MODEL.META_ARCHITECTURE", "PixelPretrainer", "MODEL.DEVICE", "cpu", "MODEL.BACKBONE.FREEZE_AT", 0]
    tiny += ["MODEL.BACKBONE.NAME", "build_narrow_resnet_backbone", "MODEL.RESNETS.DEPTH", 18, "MODEL.RESNETS.NORM", "BN"]
    tiny += ["MODEL.RESNETS.STEM_OUT_CHANNELS", 8, "MODEL.RESNETS.RES2_OUT_CHANNELS", 8, "PRETRAIN.PROJECTOR_HIDDEN", 16]
    first = build_model(load_config(None, tiny))
    path = Path(tmp_path / "backbone.safetensors")
    save_weights(path, convert(first.state_dict(), "ours", "detectron2").tensors)
    second = build_model(load_config(None, [*tiny, "MODEL.WEIGHTS", str(path)]))
    for name, value in first.backbone.state_dict().items():
        assert torch.equal(second.backbone.state_dict()[name], value)
        assert torch.equal(second.target_backbone.state_dict()[name], value)
    with torch.no_grad():
        first.target_backbone.stem.conv1.weight.add_(1)
    save_weights(path, first.state_dict())
    third = build_model(load_config(None, [*tiny, "MODEL.WEIGHTS", str(path)]))  # a whole pretraining goes on with its copy
    assert torch.equal(third.target_backbone.stem.conv1.weight, first.target_backbone.stem.conv1.weight)
    assert load_checkpoint(third, first.state_dict(), strict=True).layout == "ours"
