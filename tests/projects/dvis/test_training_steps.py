"""One training step of each whole model from official configurations: losses and gradients of the reference."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dense import build_model, load_checkpoint, load_config
from dense.projects.dvis.trackers.noisers import TorchDraws

pytestmark = pytest.mark.golden

CASES = {
    "minvis": ("MinVIS_R50.yaml", 345),
    "ctvis": ("CTVIS_R50.yaml", 351),
    "online_first_half": ("DVIS_Plus_Online_R50.yaml", 126),
    "online_second_half": ("DVIS_Plus_Online_R50.yaml", 126),
    "offline_first_half": ("DVIS_Plus_Offline_R50.yaml", 192),
    "offline_second_half": ("DVIS_Plus_Offline_R50.yaml", 192),
}


@pytest.fixture(params=list(CASES))
def arrays(request, golden, parity):
    found = parity.Arrays(golden("train_step.npz"), f"{request.param}.")
    found.name = request.param
    return found


def points(parity, arrays):
    """The stored points, cut as the reference drew them."""
    stored, start, draws = arrays.tensor("points").to(torch.float64) / 2**24, 0, []
    for shape in arrays["points_shapes"].tolist():
        count = shape[0] * shape[1]
        draws.append(stored[start : start + count].reshape(shape).float())
        start += count
    return parity.Replay(draws)


def record(arrays):
    """A clip as the mapper gives it; objects that are not visible have class -1 there."""
    masks = np.unpackbits(arrays["masks"])[: arrays["masks.shape"].prod()].reshape(arrays["masks.shape"]).astype(bool)
    ids, classes = arrays.tensor("ids"), arrays.tensor("classes")
    frames = [
        SimpleNamespace(labels=torch.where(ids[:, t] == -1, -1, classes), ids=ids[:, t], masks=torch.from_numpy(masks[:, t]))
        for t in range(masks.shape[1])
    ]
    return {"image": list(arrays.tensor("frames")), "instances": frames}


def built(root, parity, arrays):
    """The model in training, with filled weights; the criterion's class weights stay."""
    options = arrays["options"].tolist()
    model = build_model(load_config(root / "tests/data/configs" / CASES[arrays.name][0], options)).train()
    weight = model.criterion.empty_weight.clone()
    load_checkpoint(model, parity.state_dict({k: tuple(v.shape) for k, v in model.state_dict().items()}), strict=True)
    model.criterion.empty_weight.copy_(weight)
    return model


def replay(model, parity, arrays, replayed):
    """Put the stored draws in place of the generators; returns those that must be used up."""
    drawn = points(parity, arrays)
    matcher = model.criterion.matcher
    model.criterion.draw = drawn
    getattr(matcher, "costs", matcher).draw = drawn
    if arrays.name == "ctvis":
        coins = [float(arrays[f"noise{i:02d}"]) for i in range(len(arrays["noise_kinds"]))]
        model.contrast.matcher.draw, model.contrast.uniform = drawn, lambda: coins.pop(0)
        return drawn.left, coins
    if arrays.name.startswith("online"):
        model.tracker.noiser.draws = replayed(arrays, "noise")
        return drawn.left, model.tracker.noiser.draws.left
    return drawn.left, []


def test_training_step__reference_draws__losses_and_gradients_equal_reference(root, parity, arrays, replayed):
    """Catches wrong losses, targets, matches, noise or frozen parts: each trained parameter's gradient norm is compared."""
    model = built(root, parity, arrays)
    if hasattr(model, "begin_step"):
        model.begin_step(int(arrays["iter"]))
    left = replay(model, parity, arrays, replayed)
    losses = model([record(arrays)])
    assert not any(left)
    parity.check_losses(arrays, losses, 1e-4)
    torch.stack(list(losses.values())).sum().backward()
    own = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert len(own) == CASES[arrays.name][1]
    assert sorted(own) == sorted(arrays["grad_names"].tolist())
    greatest = arrays["grad_norms"].max()
    for name, value in zip(arrays["grad_names"].tolist(), arrays["grad_norms"].tolist(), strict=True):
        norm = own[name].grad.norm().item()  # also: every parameter has a gradient, which distributed training needs
        assert norm == pytest.approx(value, rel=1e-3, abs=1e-6 * greatest), name


def test_replayed_draws__kinds__are_those_of_the_default_source(replayed):
    """Catches a replay that offers other draws than the source it stands for."""
    names = {name for name in vars(TorchDraws) if not name.startswith("_")}
    assert names == {name for name in vars(replayed) if not name.startswith("_")}
