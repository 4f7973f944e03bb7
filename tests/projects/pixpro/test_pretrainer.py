"""The pretraining model: objectives, branches, parts of a detector, backbones, errors."""

import pytest
import torch

from dense import build_model
from dense.errors import ConfigError, DataError
from dense.projects.pixpro.instance import InstanceConsistency

FPN = ["MODEL.BACKBONE.NAME", "build_narrow_resnet_fpn_backbone", "MODEL.RESNETS.OUT_FEATURES", ["res2", "res3", "res4"]]
FPN += ["MODEL.FPN.IN_FEATURES", ["res2", "res3", "res4"], "MODEL.FPN.OUT_CHANNELS", 32]
ALONE = ["PRETRAIN.OBJECTIVE", "none", "PRETRAIN.INSTANCE.NAME", "InstanceConsistency"]


def parts(model):
    return {name.split(".")[0] for name in model.state_dict()}


def without_gradient(model):
    return [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]


@pytest.mark.parametrize("objective", ["PixelPropagation", "PixelConsistency", "PixelContrast"])
def test_pretrainer__each_pixel_objective__trains_every_part(tiny, records, objective):
    """Catches a part without gradient (data-parallel training would wait for it for ever), or one that is not needed."""
    model = build_model(tiny("PRETRAIN.OBJECTIVE", objective, "PRETRAIN.TRANSFORM_LAYERS", 2))
    model.begin_step(0)
    losses = model(records())
    sum(losses.values()).backward()
    assert set(losses) == {"loss_pixel"}
    assert not without_gradient(model)
    assert ("propagation" in parts(model)) == (objective == "PixelPropagation")
    assert not any(p.grad is not None for name, p in model.named_parameters() if name.startswith("target_"))


def test_pretrainer__instance_branch_alone__no_pixel_parts(tiny, records):
    """Catches a comparison that pays for projector and propagation, or for a copy of a projector that nobody reads."""
    model = build_model(tiny(*ALONE, "PRETRAIN.INSTANCE.WEIGHT", 0.5))
    losses = model(records())
    assert set(losses) == {"loss_instance"}
    assert abs(float(losses["loss_instance"].detach())) <= 0.5 * 4
    losses["loss_instance"].backward()
    assert not without_gradient(model)
    expected = {"backbone", "instance_projector", "instance_predictor", "target_backbone", "target_instance_projector"}
    assert parts(model) == expected
    assert parts(build_model(tiny(*ALONE, "PRETRAIN.PIXEL_WEIGHT", 0.0))) == expected


def test_instance_consistency__equal_and_opposite_views__ends_of_the_range():
    """Catches a missing factor 2 or a direction counted twice."""
    x, y = torch.randn(2, 3, 5).unbind(0)
    loss = InstanceConsistency()
    assert float(loss([x, y], [3 * y, 2 * x])) == pytest.approx(-4)
    assert float(loss([x, y], [-y, -x])) == pytest.approx(4)


class _Objective(torch.nn.Module):
    """Stands for an entry of OBJECTIVES: records what it was called with."""

    def __init__(self):
        super().__init__()
        self.prototypes = torch.nn.Parameter(torch.ones(16))
        self.steps, self.views = [], []

    def begin_step(self, step):
        self.steps.append(step)

    def want_figures(self, flag):
        self.wanted = flag

    def forward(self, views):
        self.views = views
        loss = sum((view * self.prototypes).square().mean() for view in views)
        return type("Output", (), {"loss": loss, "terms": {"part": loss.detach()}, "diagnostics": {}})()


def test_pretrainer__registered_objective__gets_pooled_projections_and_steps(tiny, records, monkeypatch):
    """Catches small crops that are forgotten, a copy that nobody reads, an objective that never learns the step."""
    from dense.projects.pixpro import building, instance

    objective = _Objective()
    monkeypatch.setattr(building, "build_instance_objective", lambda cfg: instance.RegisteredObjective(objective))
    model = build_model(tiny("PRETRAIN.OBJECTIVE", "none", "PRETRAIN.INSTANCE.NAME", "Any"))
    assert parts(model) == {"backbone", "instance_projector", "instance_objective"}
    model.begin_step(7)
    model.want_figures(True)
    small = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    loss = model(records(small=small))["loss_instance"]
    loss.backward()
    assert objective.steps == [7]
    assert [view.shape for view in objective.views] == [(4, 16)] * 5
    assert not without_gradient(model)
    assert model.training_figures()["part"] == pytest.approx(float(loss.detach()))


@pytest.mark.parametrize("name", ["InfoNCE", "DCL", "DCLW", "SwAV", "MVInfoNCE", "MVDHEL", "CACR"])
def test_pretrainer__objective_of_the_library__trains(tiny, records, name):
    """Catches an entry whose arguments or inputs the branch does not have."""
    options = ["PRETRAIN.INSTANCE.PROTOTYPES", 8] if name == "SwAV" else []
    model = build_model(tiny("PRETRAIN.INSTANCE.NAME", name, *options))
    losses = model(records())
    sum(losses.values()).backward()
    assert set(losses) == {"loss_pixel", "loss_instance"}
    assert not without_gradient(model)


@pytest.mark.parametrize("part", ["fpn", "head"])
def test_pretrainer__pyramid_and_towers__trains_what_is_compared(tiny, records, part):
    """Catches levels without a mask of their own, parts of the detector without gradient, names that no detector has."""
    model = build_model(tiny(*FPN, "PRETRAIN.PARTS", part, "PRETRAIN.LEVELS", ["p3", "p4", "p5"]))
    losses = model(records())
    losses["loss_pixel"].backward()
    assert abs(float(losses["loss_pixel"].detach())) <= 4
    assert not without_gradient(model)
    frozen = {n.split(".")[1] for n, p in model.named_parameters() if n.startswith("backbone.") and not p.requires_grad}
    assert frozen == {"fpn_lateral2", "fpn_output2"}
    if part == "head":
        names = {name for name in model.state_dict() if name.startswith("tower.")}
        assert {"tower.cls_subnet.0.weight", "tower.cls_subnet.1.weight", "tower.bbox_subnet.6.bias"} <= names
        assert "target_tower" in parts(model)


def test_pretrainer__towers_of_detectron2__same_names_and_shapes():
    """Catches towers that Detectron2's FCOS head has under other names."""
    from detectron2.layers import ShapeSpec
    from detectron2.modeling.meta_arch.fcos import FCOSHead

    from dense.projects.pixpro.heads import Towers

    head = FCOSHead(input_shape=[ShapeSpec(channels=32, stride=8)], conv_dims=[32] * 4, num_classes=3, norm="GN")
    theirs = {name: value.shape for name, value in head.state_dict().items() if "subnet" in name}
    ours = {name: value.shape for name, value in Towers(32, 3, "GN").state_dict().items()}
    assert ours.items() <= theirs.items()
    assert {name.split(".")[1] for name in theirs.keys() - ours.keys()} == {"9", "10"}  # the fourth convolution and its norm


BACKBONES = {
    "timm": ["MODEL.BACKBONE.NAME", "TimmBackbone", "MODEL.TIMM.NAME", "resnet10t", "MODEL.TIMM.FREEZE_NORM", False],
    "swin": ["MODEL.BACKBONE.NAME", "SwinBackbone", "MODEL.SWIN.EMBED_DIM", 8, "MODEL.SWIN.DEPTHS", [1, 1, 1, 1]],
}
BACKBONES["vit"] = ["MODEL.BACKBONE.NAME", "ViTAdapterBackbone", "MODEL.VIT_ADAPTER.NAME", "vits", "PRETRAIN.FEATURE", "res4"]
BACKBONES["vit"] += ["MODEL.VIT_ADAPTER.VIT_WEIGHT", "", "MODEL.VIT_ADAPTER.FREEZE_VIT", False]
BACKBONES["timm"] += ["MODEL.TIMM.OUT_FEATURES", ["res4"]]
BACKBONES["swin"] += ["MODEL.SWIN.NUM_HEADS", [1, 1, 1, 1], "MODEL.SWIN.OUT_FEATURES", ["res4"], "MODEL.SWIN.WINDOW_SIZE", 4]


@pytest.mark.parametrize("name", BACKBONES)
def test_pretrainer__other_backbones__learn(tiny, records, name):
    """Catches a backbone that cannot be copied, or whose map has another name."""
    model = build_model(tiny(*BACKBONES[name]))
    losses = model(records())
    losses["loss_pixel"].backward()
    gradients = [p.grad for n, p in model.named_parameters() if n.startswith("backbone.") and p.grad is not None]
    assert sum(float(g.abs().sum()) for g in gradients) > 0


def test_pretrainer__zero_init_residual__last_norm_of_every_block(tiny):
    """Catches the wrong norm set to zero, or none."""
    model = build_model(tiny())
    zeros = {n for n, p in model.backbone.named_parameters() if p.dim() == 1 and n.endswith("weight") and not p.any()}
    assert zeros == {f"res{stage}.{block}.conv2.norm.weight" for stage in (2, 3, 4) for block in (0, 1)}
    plain = build_model(tiny("PRETRAIN.ZERO_INIT_RESIDUAL", False))
    assert all(p.any() for n, p in plain.backbone.named_parameters() if n.endswith("norm.weight"))


def test_pretrainer__channels_last__same_numbers(tiny, records):
    """Catches positions read in another order where the memory layout differs."""
    results = []
    for layout in (True, False):
        torch.manual_seed(3)
        model = build_model(tiny("PRETRAIN.CHANNELS_LAST", layout))
        assert model.backbone.stem.conv1.weight.is_contiguous(memory_format=torch.channels_last) == layout
        model.begin_step(0)
        loss = model(records(size=96))["loss_pixel"]
        loss.backward()
        results.append((loss.detach(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}))
    torch.testing.assert_close(results[0], results[1], rtol=1e-3, atol=1e-4)


def test_pretrainer__autocast__loss_close_to_float32(tiny, records):
    """Catches losses or masks computed in half precision."""
    torch.manual_seed(3)
    model = build_model(tiny())
    expected = model(records())["loss_pixel"]
    with torch.autocast("cpu", torch.bfloat16):
        actual = model(records())["loss_pixel"]
    assert actual.dtype == torch.float32
    assert abs(float(actual.detach() - expected.detach())) < 0.05


def test_pretrainer__crops_apart__zero_loss_without_nan(tiny, records):
    """Catches a batch in which no pair is positive."""
    batch = records(2)
    for record in batch:
        record["coords"] = torch.tensor([[0.0, 0.0, 0.2, 0.2], [0.8, 0.8, 1.0, 1.0]])
    model = build_model(tiny())
    loss = model(batch)["loss_pixel"]
    loss.backward()
    assert float(loss.detach()) == 0
    assert all(float(p.grad.abs().max()) == 0 for p in model.parameters() if p.grad is not None)


def test_pretrainer__bad_records__say_what_is_wrong(tiny, records):
    """Catches a foreign traceback for a batch of another kind."""
    model = build_model(tiny())
    with pytest.raises(DataError, match="the batch has no record"):
        model([])
    with pytest.raises(DataError, match="coords: a record of the batch has none"):
        model([{"views": record["views"]} for record in records()])
    with pytest.raises(DataError, match="expected one shape"):
        model([*records(1), *records(1, size=32)])
    with pytest.raises(DataError, match=r"expected \[2, 3, S, S\]"):
        model([{**record, "views": record["views"][:1]} for record in records()])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["PRETRAIN.PARTS", "neck"], "PRETRAIN.PARTS: unknown 'neck'"),
        (["PRETRAIN.PARTS", "fpn"], "need a pyramid"),
        ([*FPN, "PRETRAIN.PARTS", "fpn", "PRETRAIN.LEVELS", ["p7"]], "the pyramid has p2, p3, p4, p5, not p7"),
        (["PRETRAIN.FEATURE", "res5"], "the backbone has res4, not 'res5'"),
        (["PRETRAIN.OBJECTIVE", "PixelContrst"], "Did you mean 'PixelContrast'"),
        (["PRETRAIN.OBJECTIVE", "none"], "neither a pixel loss"),
        (["PRETRAIN.INSTANCE.NAME", "Nothing"], "unknown 'Nothing'. Known: InstanceConsistency"),
        (["PRETRAIN.SHARPNESS", 0.0], "expected a number above 0"),
        (["PRETRAIN.TRANSFORM_LAYERS", 3], "PRETRAIN.TRANSFORM_LAYERS: 3"),
        ([*FPN, "PRETRAIN.PARTS", "head", "MODEL.FPN.OUT_CHANNELS", 40], "a multiple of 32"),
    ],
)
def test_pretrainer__bad_configuration__names_the_key(tiny, options, message):
    """Catches a value that ends in a foreign traceback, or is silently taken for another."""
    with pytest.raises(ConfigError, match=message.replace("[", r"\[")):
        build_model(tiny(*options))
