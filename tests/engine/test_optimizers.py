"""Parameter groups, optimizers, gradient clipping."""

import pytest
import torch
from torch import nn

from dense import load_config
from dense.engine.optimizers import build_optimizer, gradient_clipper, parameter_groups
from dense.errors import ConfigError


class Model(nn.Module):
    """One parameter of each kind, inside and outside a backbone."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4), nn.LayerNorm(4))
        self.backbone.relative_position_bias_table = nn.Parameter(torch.zeros(3))
        self.backbone.frozen = nn.Parameter(torch.zeros(3), requires_grad=False)
        self.head = nn.Sequential(nn.Linear(4, 4), nn.GroupNorm(2, 4), nn.Embedding(3, 4))
        self.level_embed = nn.Parameter(torch.zeros(2, 4))
        self.absolute_pos_embed = nn.Parameter(torch.zeros(2))
        self.shared = self.head[0]


OPTIONS = ["SOLVER.BASE_LR", 0.01, "SOLVER.BACKBONE_MULTIPLIER", 0.1, "SOLVER.WEIGHT_DECAY", 0.05]
OPTIONS += ["SOLVER.WEIGHT_DECAY_NORM", 0.002, "SOLVER.WEIGHT_DECAY_EMBED", 0.003]


def config(*options):
    return load_config(None, [*OPTIONS, *options])


def test_parameter_groups__every_kind__rate_and_decay():
    """Catches norms and embeddings that decay, a backbone at the full rate, frozen or shared parameters listed."""
    model = Model()
    names = {id(p): n for n, p in model.named_parameters()}
    found = {names[id(g["params"][0])]: (g["lr"], g["weight_decay"]) for g in parameter_groups(config(), model)}
    slow, fast = pytest.approx(0.001), 0.01
    assert found == {
        "backbone.0.weight": (slow, 0.05),
        "backbone.1.weight": (slow, 0.002),
        "backbone.1.bias": (slow, 0.002),
        "backbone.2.weight": (slow, 0.002),
        "backbone.2.bias": (slow, 0.002),
        "backbone.relative_position_bias_table": (slow, 0.0),
        "head.0.weight": (fast, 0.05),
        "head.0.bias": (fast, 0.05),
        "head.1.weight": (fast, 0.002),
        "head.1.bias": (fast, 0.002),
        "head.2.weight": (fast, 0.003),
        "level_embed": (fast, 0.05),
        "absolute_pos_embed": (fast, 0.0),
    }


@pytest.mark.parametrize("kind", ["ADAMW", "SGD", "adamw"])
def test_build_optimizer__joined_groups__move_as_single_ones(kind):
    """Catches settings lost when groups are joined: one step equals that of an optimizer with a group per parameter."""
    models = []
    for build in ("joined", "single"):
        torch.manual_seed(0)
        model = Model()
        optimizer = build_optimizer(config("SOLVER.OPTIMIZER", kind), model)
        if build == "single":
            groups = list(parameter_groups(config(), model))
            optimizer = torch.optim.SGD(groups, 0.01, momentum=0.9) if kind == "SGD" else torch.optim.AdamW(groups, 0.01)
        else:
            assert len(optimizer.param_groups) < 8
        for _ in range(2):
            for p in model.parameters():
                p.grad = torch.full_like(p, 0.3) + p.detach()
            optimizer.step()
        models.append(model)
    for (name, ours), theirs in zip(models[0].named_parameters(), models[1].parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-7), name


def test_build_optimizer__wrong_name_or_nothing_to_train__raises():
    """Catches a KeyError for a misspelt name, and an empty optimizer."""
    with pytest.raises(ConfigError, match=r"'ADAMV'.*Did you mean 'ADAMW'"):
        build_optimizer(config("SOLVER.OPTIMIZER", "ADAMV"), Model())
    model = Model().requires_grad_(False)
    with pytest.raises(ConfigError, match="no trainable parameter"):
        build_optimizer(config(), model)


def gradients(*values):
    parameters = [nn.Parameter(torch.zeros(len(v))) for v in values]
    for parameter, value in zip(parameters, values, strict=True):
        parameter.grad = torch.tensor(value)
    return parameters


def clipper(kind, limit=1.0, norm=2.0, enabled=True):
    keys = [f"SOLVER.CLIP_GRADIENTS.{key}" for key in ("ENABLED", "CLIP_TYPE", "CLIP_VALUE", "NORM_TYPE")]
    return gradient_clipper(config(*[x for pair in zip(keys, (enabled, kind, limit, norm), strict=True) for x in pair]))


def test_gradient_clipper__full_model__one_norm_over_all():
    """Catches each parameter clipped on its own, and the norm after instead of before clipping returned."""
    parameters = gradients([3.0, 0.0], [4.0])
    assert float(clipper("full_model")(parameters)) == pytest.approx(5.0)
    assert parameters[0].grad.tolist() == pytest.approx([0.6, 0.0])
    assert parameters[1].grad.tolist() == pytest.approx([0.8])


def test_gradient_clipper__norm_and_value__each_its_own_way():
    """Catches the kinds confused."""
    parameters = gradients([3.0, 4.0], [0.5])
    assert clipper("norm")(parameters) is None
    assert parameters[0].grad.tolist() == pytest.approx([0.6, 0.8])
    assert parameters[1].grad.tolist() == [0.5]
    parameters = gradients([3.0, -4.0], [0.5])
    assert clipper("value", 2.0)(parameters) is None
    assert parameters[0].grad.tolist() == [2.0, -2.0]
    parameters = gradients([3.0, 4.0])
    clipper("full_model", norm=float("inf"))(parameters)
    assert parameters[0].grad.tolist() == pytest.approx([0.75, 1.0])


def test_gradient_clipper__off_or_unknown():
    """Catches clipping that is on although switched off, and a KeyError for a misspelt kind."""
    parameters = gradients([3.0, 4.0])
    assert clipper("norm", enabled=False)(parameters) is None
    assert parameters[0].grad.tolist() == [3.0, 4.0]
    with pytest.raises(ConfigError, match=r"'full_modal'.*Did you mean 'full_model'"):
        clipper("full_modal")


def test_parameter_groups__decay_of_biases__norms_and_tables_keep_theirs():
    """Catches biases and temperatures that decay although a recipe says matrices only."""
    model = Model()
    model.log_scale = nn.Parameter(torch.zeros(()))
    names = {id(p): n for n, p in model.named_parameters()}
    groups = list(parameter_groups(config("SOLVER.WEIGHT_DECAY_BIAS", 0.0), model))
    found = {names[id(g["params"][0])]: g["weight_decay"] for g in groups}
    assert found["head.0.bias"] == found["log_scale"] == 0.0
    assert found["head.0.weight"] == found["level_embed"] == found["backbone.0.weight"] == 0.05
    assert found["head.1.bias"] == found["backbone.2.bias"] == config().SOLVER.WEIGHT_DECAY_NORM
    plain = {names[id(g["params"][0])]: g["weight_decay"] for g in parameter_groups(config(), model)}
    assert plain["head.0.bias"] == plain["log_scale"] == 0.05


def test_build_optimizer__betas__handed_to_adamw():
    """Catches betas that are read and forgotten, and those that no optimizer can have."""
    optimizer = build_optimizer(config("SOLVER.BETAS", (0.9, 0.98)), Model())
    assert {group["betas"] for group in optimizer.param_groups} == {(0.9, 0.98)}
    with pytest.raises(ConfigError, match="BETAS"):
        build_optimizer(config("SOLVER.BETAS", (0.9, 1.0)), Model())
    with pytest.raises(ConfigError, match="BETAS"):
        build_optimizer(config("SOLVER.BETAS", (0.9,)), Model())
