"""Layouts of backbones and of older official files, against the libraries that own them."""

import json

import pytest
import torch
from detectron2.modeling import build_backbone
from torch import nn

from dense import build_model, load_checkpoint, load_config
from dense.checkpoint.converting import LAYOUTS, fit_to_model, layout, recognise
from dense.checkpoint.converting.swin import resize_bias_table
from dense.errors import CheckpointError

RESNET = ["MODEL.BACKBONE.NAME", "build_resnet_backbone", "MODEL.RESNETS.OUT_FEATURES", ["res2", "res3", "res4", "res5"]]


class Below(nn.Module):
    """A part at a place below the model."""

    def __init__(self, part, *path):
        super().__init__()
        self.add_module(path[0], part if len(path) == 1 else Below(part, *path[1:]))


def resnet(*options):
    return build_backbone(load_config(None, [*RESNET, "MODEL.RESNETS.STRIDE_IN_1X1", False, *options])).eval()


def randomised(module):
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                noise = torch.randn_like(value)
                scale = value[0].numel() ** 0.5 if value.dim() > 1 else 5.0
                value.copy_(0.5 + noise.abs() if name.endswith("running_var") else noise / scale)
    return module.eval()


@pytest.mark.parametrize("depth", [18, 50])
def test_torchvision__every_name__has_one_place(depth):
    """Catches tensors of torchvision's ResNets without a place in Detectron2's, and the other way round (shapes only)."""
    import torchvision

    with torch.device("meta"):
        theirs = getattr(torchvision.models, f"resnet{depth}")().state_dict()
        options = ["MODEL.RESNETS.DEPTH", depth, *(["MODEL.RESNETS.RES2_OUT_CHANNELS", 64] if depth == 18 else [])]
        ours = resnet(*options).state_dict()
    fit = fit_to_model(theirs, ours)
    assert fit.layout == "torchvision"
    assert {k: v.shape for k, v in fit.tensors.items()} == {k: v.shape for k, v in ours.items()}
    assert {name.rpartition(".")[2] for name in fit.dropped if "fc" not in name} == {"num_batches_tracked"}
    assert [name for name in fit.dropped if "fc" in name] == ["fc.weight", "fc.bias"]
    back = layout("torchvision").from_ours({f"backbone.{k}": v for k, v in ours.items()}).tensors
    assert set(back) == set(theirs) - set(fit.dropped)


def test_torchvision__resnet18__equal_feature_map():
    """Catches norms and convolutions put in each other's place where the shapes agree."""
    import torchvision

    theirs = randomised(torchvision.models.resnet18())
    ours = resnet("MODEL.RESNETS.DEPTH", 18, "MODEL.RESNETS.RES2_OUT_CHANNELS", 64)
    load_checkpoint(ours, theirs.state_dict(), strict=True)
    image = torch.randn(1, 3, 64, 32)
    with torch.no_grad():
        x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(image))))
        x = theirs.layer4(theirs.layer3(theirs.layer2(theirs.layer1(x))))
        actual = ours(image)["res5"]
    assert x.std() > 0
    torch.testing.assert_close(actual, x, rtol=1e-4, atol=1e-4 * float(x.abs().max()))


@pytest.mark.parametrize("place", [(), ("backbone",), ("backbone", "bottom_up")])
def test_detectron2__r50_file__finds_the_backbone(place):
    """Catches R-50.pkl that only fits one kind of model: the backbone alone, a segmenter, a feature pyramid."""
    with torch.device("meta"):
        backbone = resnet()
        file = {name: torch.empty(value.shape) for name, value in backbone.state_dict().items()}
        file |= {"stem.fc.weight": torch.empty(1000, 2048), "stem.conv1.norm.num_batches_tracked": torch.empty(())}
        model = Below(backbone, *place) if place else backbone
    fit = fit_to_model(file, model.state_dict())
    assert set(fit.tensors) == set(model.state_dict())
    assert sorted(fit.dropped) == ["stem.conv1.norm.num_batches_tracked", "stem.fc.weight"]
    whole = {f"backbone.{name}": value for name, value in backbone.state_dict().items()}
    assert set(layout("detectron2").from_ours({**whole, "head.bias": whole["backbone.stem.conv1.weight"]}).tensors) == set(
        backbone.state_dict()
    )


def test_swin__timm_model__equal_feature_map():
    """Catches the merging step given to the wrong stage, and the classifier's norm taken for an output's."""
    from timm.models.swin_transformer import SwinTransformer

    from dense.modeling.backbones.swin import BlockSettings, SwinBackbone

    theirs = randomised(
        SwinTransformer(img_size=64, window_size=4, embed_dim=8, depths=(2, 2), num_heads=(1, 2), num_classes=3)
    )
    settings = BlockSettings(window=4)
    ours = SwinBackbone(embed_dim=8, depths=[2, 2], heads=[1, 2], settings=settings, out_features=["res3"]).eval()
    state = theirs.state_dict()
    assert recognise(state).name == "swin"
    report = load_checkpoint(ours, state)
    assert report.missing == ["norm1.weight", "norm1.bias"]
    assert not report.unused
    assert {name.split(".")[0] for name in report.dropped} == {"norm", "head"}
    ours.norm1.load_state_dict(theirs.norm.state_dict())
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected, actual = theirs.forward_features(image).permute(0, 3, 1, 2), ours(image)["res3"]
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


def test_swin__official_names__shift_masks_and_classifier_go():
    """Catches the original files: ``model`` key, masks of the pretraining size, merging counted with its own stage."""
    block = "layers.0.blocks.0.attn."
    kept = ["patch_embed.proj.weight", f"{block}qkv.weight", f"{block}relative_position_index", "layers.0.downsample.norm.bias"]
    gone = ["layers.0.blocks.1.attn_mask", "norm.weight", "head.bias"]
    converted = layout("swin").to_ours({name: torch.zeros(1) for name in (*kept, *gone)})
    assert sorted(converted.tensors) == sorted(f"backbone.{name}" for name in kept)
    assert converted.dropped == gone


def test_swin__other_window__biases_are_resampled():
    """Catches a fine-tuning at another window size that starts with random biases, and an index of the old window."""
    from dense.modeling.backbones.swin import BlockSettings, SwinBackbone

    def build(window):
        return SwinBackbone(embed_dim=8, depths=[1], heads=[2], settings=BlockSettings(window=window), out_features=["res2"])

    small, large = build(3), build(5)
    index = large.layers[0].blocks[0].attn.relative_position_index.clone()
    report = load_checkpoint(large, small.state_dict(), strict=True)
    assert report.resized == ["layers.0.blocks.0.attn.relative_position_bias_table"]
    assert large.layers[0].blocks[0].attn.relative_position_index.equal(index)
    table, middle = small.layers[0].blocks[0].attn.relative_position_bias_table, (5 * 5) // 2
    assert resize_bias_table(table, 81)[81 // 2].allclose(table[middle])  # the same place keeps its bias
    ramp = torch.arange(5.0)[:, None].expand(5, 5).reshape(25, 1)
    resized = resize_bias_table(ramp, 81).view(9, 9)
    assert (resized.diff(dim=0) > 0).all()  # rows stay rows
    assert resized.std(dim=1).max() < 1e-5


def test_official__older_names__become_todays(golden):
    """Catches static_query and pixel decoders directly under the head, which older files have."""
    manifest = json.loads(golden("manifests/MinVIS_R50_ytvis19.json").read_text(encoding="utf-8"))
    own = {name: torch.empty(shape, device="meta") for name, shape in manifest.items()}
    new_name, old_name = "sem_seg_head.predictor.query_feat.weight", "sem_seg_head.predictor.static_query.weight"
    old = {
        name.replace("sem_seg_head.pixel_decoder.", "sem_seg_head.").replace(new_name, old_name): v for name, v in own.items()
    }
    assert len(set(old) & set(own)) == len(own) - 118
    fit = fit_to_model(old, own)
    assert fit.layout == "official"
    assert set(fit.tensors) == set(own)
    assert fit_to_model(own, own).layout == "ours"
    assert set(layout("official").from_ours(own).tensors) == set(own)


def check_in_and_out(manifest, model):
    own = model.state_dict()
    official = {name: torch.empty(shape, device="meta") for name, shape in manifest.items()}
    assert recognise(official).name == "official"
    fit = fit_to_model(official, own)
    assert {k: list(v.shape) for k, v in fit.tensors.items()} == {k: list(v.shape) for k, v in own.items()}
    assert not fit.dropped
    back = layout("official").from_ours(own)
    assert {k: list(v.shape) for k, v in back.tensors.items()} == manifest
    assert not back.dropped


def ctvis(root, *options):
    file = root / "configs/dvis/ytvis19/ctvis_r50.yaml"
    with torch.device("meta"):
        return build_model(load_config(file, ["MODEL.DEVICE", "meta", "MODEL.WEIGHTS", "", *options]))


def test_official__ctvis__in_and_out_nothing_missing_nothing_left(golden):
    """Catches names of the re-identification head that differ from the official ones, in either direction."""
    whole = json.loads(golden("manifests/DVIS_Plus_Offline_R50_ytvis19.json").read_text(encoding="utf-8"))
    manifest = {name: shape for name, shape in whole.items() if not name.startswith(("tracker.", "refiner."))}
    assert len(manifest) == 564
    check_in_and_out(manifest, ctvis(golden(".").parents[1]))


@pytest.mark.parametrize(("name", "classes"), [("ytvis19", 40), ("vipseg", 124)])
def test_official__ctvis_manifest__in_and_out_nothing_missing_nothing_left(shared, golden, name, classes):
    """As above, with the key lists of CTVIS itself, which are not part of the repository."""
    manifest = json.loads((shared / f"specs/manifests/CTVIS_R50_{name}.json").read_text(encoding="utf-8"))["state_dict"]
    check_in_and_out(manifest, ctvis(golden(".").parents[1], "MODEL.SEM_SEG_HEAD.NUM_CLASSES", classes))


def test_to_ours__two_names_for_one__raises():
    """Catches one of two tensors silently lost."""
    head = "sem_seg_head.predictor."
    with pytest.raises(CheckpointError, match=r"static_query.*both mean .*query_feat"):
        layout("official").to_ours({f"{head}query_feat.weight": torch.zeros(1), f"{head}static_query.weight": torch.zeros(1)})


def test_fit_to_model__own_names_look_like_others__stay():
    """Catches a backbone of ours with torchvision's names that is converted away from itself."""
    import torchvision

    with torch.device("meta"):
        model = torchvision.models.resnet18()
    fit = fit_to_model({f"module.{k}": v for k, v in model.state_dict().items()}, model.state_dict())
    assert fit.layout == "ours"
    assert set(fit.tensors) == set(model.state_dict())


def test_fit_to_model__segmenter_into_backbone__takes_its_part():
    """Catches a backbone that cannot be filled from a whole model; the rest is reported as unused."""
    backbone = nn.Linear(2, 2)
    whole = {f"backbone.{k}": v for k, v in backbone.state_dict().items()} | {"head.bias": torch.zeros(1)}
    report = load_checkpoint(backbone, whole)
    assert report.loaded == ["weight", "bias"]
    assert report.unused == ["head.bias"]


@pytest.mark.parametrize("entry", LAYOUTS.values(), ids=list(LAYOUTS))
def test_layout__names_of_nobody__pass_or_are_dropped(entry):
    """Catches names that vanish without a trace in either direction."""
    state = {"a.b": torch.zeros(1), "backbone.other.weight": torch.zeros(2)}
    assert not entry.recognises(state)
    for convert in (entry.to_ours, entry.from_ours):
        converted = convert(state)
        assert len(converted.tensors) + len(converted.dropped) == 2


def test_layout__unknown_name__suggests_the_nearest():
    """Catches a KeyError."""
    with pytest.raises(CheckpointError, match="Did you mean 'torchvision'"):
        layout("torchvison")
