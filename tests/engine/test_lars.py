"""LARS: reference numbers, the formula tensor by tensor, groups, resume, unscaled gradients."""

import numpy as np
import pytest
import torch
from torch import nn

from dense import load_config
from dense.engine.lars import LARS
from dense.engine.optimizers import build_optimizer
from dense.engine.state import Checkpoints
from dense.errors import CheckpointError, ConfigError

NAMES = ("conv", "mat", "vec")


@pytest.fixture(scope="module")
def known(golden):
    """Three tensors, their gradients and their values after each of three steps, of the reference optimizer."""
    return np.load(golden("pixpro_solver.npz"))


@pytest.mark.golden
@pytest.mark.parametrize("case", ["exclude", "all", "zero"])
def test_lars__three_steps__reference_values(known, case):
    """Catches norms taken before the decay, decay or scaling of vectors, a zero norm that stops a tensor."""
    decay, momentum, trust, eps = known["lars.weight_decay_momentum_trust_eps"].tolist()
    start = {name: torch.from_numpy(known[f"lars.{name}.start"]) for name in NAMES}
    weights = {name: nn.Parameter(torch.zeros_like(t) if case == "zero" else t.clone()) for name, t in start.items()}
    vectors = [] if case == "all" else [weights["vec"]]
    rest = [w for name, w in weights.items() if case == "all" or name != "vec"]
    groups = [{"params": vectors, "weight_decay": 0.0, "scaled": False}, {"params": rest, "weight_decay": decay}]
    optimizer = LARS(groups, 1.0, momentum=momentum, trust=trust, eps=eps)
    for step, rate in enumerate(known["lars.lr"].tolist()):
        for group in optimizer.param_groups:
            group["lr"] = rate
        for name, weight in weights.items():
            weight.grad = torch.from_numpy(known[f"lars.{name}.grads"][step])
        optimizer.step()
        for name, weight in weights.items():
            expected = known[f"lars.{case}.{name}.step{step}"]
            assert np.abs(weight.detach().numpy() - expected).max() <= 1e-6 * max(1.0, np.abs(expected).max()), (step, name)


def test_lars__zero_gradients_and_missing_ones__numbers_of_the_formula():
    """Catches a division by a zero norm, and a parameter without gradient that is moved or breaks the step."""
    still, idle, moved = (nn.Parameter(torch.full((2, 2), 3.0)) for _ in range(3))
    optimizer = LARS([still, idle, moved], 0.5, momentum=0.5, weight_decay=0.0, trust=0.1, eps=1.0)
    for _ in range(2):
        still.grad, moved.grad = torch.zeros(2, 2), torch.ones(2, 2)
        optimizer.step()
    assert torch.equal(still.detach(), torch.full((2, 2), 3.0))
    assert torch.equal(idle.detach(), torch.full((2, 2), 3.0))
    assert not optimizer.state[idle]
    first = 0.1 * 6.0 / (2.0 + 1.0)  # norms 6 and 2
    weight = 3.0 - 0.5 * first
    second = 0.5 * first + 0.1 * 2 * weight / 3.0
    assert moved.detach().numpy() == pytest.approx(np.full((2, 2), weight - 0.5 * second), rel=1e-6)


def test_lars__closure__its_loss_comes_back():
    """Catches a closure that runs without gradients."""
    weight = nn.Parameter(torch.ones(2, 2))
    optimizer = LARS([weight], 0.1)

    def closure():
        optimizer.zero_grad()
        loss = (weight**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 4.0
    assert (weight < 1).all()


class Net(nn.Module):
    """Vectors and other shapes, trained and frozen, with a backbone and a number."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.frozen = nn.Linear(2, 2).requires_grad_(False)
        self.head = nn.Linear(4, 2)
        self.temperature = nn.Parameter(torch.ones(()))


def lars(model, *options):
    keys = ["SOLVER.OPTIMIZER", "LARS", "SOLVER.WEIGHT_DECAY", 1e-5, "SOLVER.BASE_LR", 1.0, *options]
    return build_optimizer(load_config(None, keys), model)


def test_build_optimizer__lars__group_0_are_the_vectors():
    """Catches biases or norms that decay or are scaled, frozen parameters listed, a backbone at another rate, other groups."""
    model = Net()
    names = {id(p): name for name, p in model.named_parameters()}
    vectors, rest = lars(model, "SOLVER.LARS.TRUST", 0.002, "SOLVER.MOMENTUM", 0.8).param_groups
    assert [names[id(p)] for p in vectors["params"]] == ["backbone.0.bias", "backbone.1.weight", "backbone.1.bias", "head.bias"]
    assert {names[id(p)] for p in rest["params"]} == {"temperature", "backbone.0.weight", "head.weight"}
    settings = ("lr", "momentum", "weight_decay", "trust", "eps", "scaled")
    assert [vectors[key] for key in settings] == [1.0, 0.8, 0.0, 0.002, 1e-8, False]
    assert [rest[key] for key in settings] == [1.0, 0.8, 1e-5, 0.002, 1e-8, True]


def test_build_optimizer__plain_sgd_of_pretraining__one_group_that_decays():
    """Catches a mode in which norms do not decay although the settings say so."""
    options = ["SOLVER.OPTIMIZER", "SGD", "SOLVER.WEIGHT_DECAY", 1e-4, "SOLVER.WEIGHT_DECAY_NORM", 1e-4]
    model = Net()
    optimizer = build_optimizer(load_config(None, [*options, "SOLVER.BACKBONE_MULTIPLIER", 1.0]), model)
    (group,) = optimizer.param_groups
    assert group["weight_decay"] == 1e-4
    assert len(group["params"]) == sum(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(("key", "value"), [("TRUST", -0.1), ("EPS", -1.0)])
def test_build_optimizer__lars_out_of_range__names_the_key(key, value):
    """Catches steps in the wrong direction."""
    with pytest.raises(ConfigError, match=rf"SOLVER\.LARS\.{key}: {value}"):
        lars(Net(), f"SOLVER.LARS.{key}", value)


def test_build_optimizer__lars_with_everything_frozen__raises():
    """Catches a run that trains nothing."""
    with pytest.raises(ConfigError, match="no trainable parameter"):
        lars(Net().requires_grad_(False))


def step_of(optimizer, model, seed):
    generator = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        p.grad = torch.randn(p.shape, generator=generator) if p.requires_grad else None
    optimizer.step()


def test_lars__saved_and_loaded__continues_to_the_bit(tmp_path):
    """Catches velocities or group settings that a checkpoint loses."""
    torch.manual_seed(0)
    model, again = Net(), Net()
    again.load_state_dict(model.state_dict())
    first, second = lars(model), lars(again)
    for seed in range(3):
        step_of(first, model, seed)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, {"model": model.state_dict(), "optimizer": first.state_dict()})
    assert checkpoints.load_last({"model": again, "optimizer": second})[1] == 3
    for seed in range(3, 6):
        step_of(first, model, seed)
        step_of(second, again, seed)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("kind", ["LARS", "SGD"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda state: state["state"][0].update(momentum_buffer=None),
        lambda state: state["state"][1].update(momentum_buffer=torch.zeros(())),
        lambda state: state["state"][0].update(momentum_buffer=torch.zeros(1).expand(4)),
        lambda state: state["state"][0].update(velocity=state["state"][0].pop("momentum_buffer")),
        lambda state: state["param_groups"][0].update(momentum="0.9"),
        lambda state: state["param_groups"][1].update(scaled=0, nesterov=0),
        lambda state: state["param_groups"][1].update(weight_decay=float("inf")),
        lambda state: state["param_groups"].pop(),
    ],
)
def test_load_last__momentum_that_cannot_be_continued__one_error(tmp_path, kind, damage):
    """Catches a run that goes on with half an optimizer, as for AdamW."""
    model = Net()
    optimizer = lars(model, "SOLVER.OPTIMIZER", kind)
    step_of(optimizer, model, 0)
    checkpoints = Checkpoints(tmp_path)
    state = optimizer.state_dict()
    checkpoints.save(1, {"optimizer": state})
    assert checkpoints.load_last({"optimizer": optimizer})[1] == 1
    damage(state)
    checkpoints.save(2, {"optimizer": state})
    with pytest.raises(CheckpointError, match="its optimizer does not fit"):
        checkpoints.load_last({"optimizer": optimizer})
