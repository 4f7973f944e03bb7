"""Precise batch-norm statistics: the true ones of the batches, in what is evaluated and saved, and nothing else changed."""

import copy

import pytest
import torch
from torch import nn

from dense import load_config
from dense.engine.launch import Process
from dense.engine.precise_norm import PreciseNorm
from dense.engine.state import Checkpoints
from dense.engine.trainer import Trainer
from dense.errors import ConfigError

OPTIONS = ["MODEL.DEVICE", "cpu", "TEST.PRECISE_BN.ENABLED", True, "TEST.PRECISE_BN.NUM_ITER", 3]


class Net(nn.Module):
    """Two batch norms, one of them frozen, one of them perhaps used twice."""

    def __init__(self, times=1):
        super().__init__()
        self.norm, self.frozen, self.head, self.times = nn.BatchNorm2d(2), nn.BatchNorm2d(2), nn.Conv2d(2, 1, 1), times

    def train(self, mode=True):
        super().train(mode)
        self.frozen.eval()
        return self

    def forward(self, batch):
        x = torch.stack([record["x"] for record in batch])
        for _ in range(self.times):
            x = self.norm(self.frozen(x))
        return {"loss": (self.head(x) ** 2).mean()}


def batches(first):
    while True:
        generator = torch.Generator().manual_seed(first)
        count = 2 + first % 2  # batches of several sizes
        yield [{"x": torch.randn(2, 4, 5, generator=generator) * (1 + first) + first, "file_name": "x"} for _ in range(count)]
        first += 1


def precise():
    return PreciseNorm(load_config(None, OPTIONS), Process())


def test_update__three_batches__population_statistics_in_place():
    """Catches running averages left, batches counted alike whatever their size, and new tensors that others do not see."""
    model = Net().train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    mean, variance = model.norm.running_mean, model.norm.running_var
    precise().update(model, batches(4))
    everything = torch.cat([torch.stack([r["x"] for r in batch]) for batch, _ in zip(batches(4), range(3), strict=False)])
    everything = everything / (1 + model.frozen.eps) ** 0.5
    assert model.norm.running_mean is mean
    assert model.norm.running_var is variance
    torch.testing.assert_close(mean, everything.mean((0, 2, 3)), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(variance, everything.var((0, 2, 3), correction=0), rtol=1e-5, atol=1e-5)
    assert model.norm.momentum == 0.1
    assert model.training
    for key, value in model.state_dict().items():
        assert key.startswith("norm.running") or torch.equal(value, before[key]), key


def test_update__batch_norm_used_twice__says_what_to_do():
    """Catches the library's AssertionError."""
    with pytest.raises(ConfigError, match=r"TEST\.PRECISE_BN\.ENABLED: True.*reused.*Set it to False"):
        precise().update(Net(times=2).train(), batches(0))


def test_precise_norm__no_batches__names_the_key():
    """Catches statistics of nothing."""
    with pytest.raises(ConfigError, match=r"TEST\.PRECISE_BN\.NUM_ITER: 0"):
        PreciseNorm(load_config(None, [*OPTIONS, "TEST.PRECISE_BN.NUM_ITER", 0]), Process())


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_train__precise__evaluated_and_saved_with_them(tmp_path, decay):
    """Catches an evaluation or checkpoint with running averages, statistics of other weights, a training that is disturbed."""
    cfg = load_config(
        None, [*OPTIONS, "SOLVER.EMA_DECAY", decay, "SOLVER.MAX_ITER", 4, "TEST.EVAL_PERIOD", 2, "SOLVER.BASE_LR", 0.1]
    )
    torch.manual_seed(0)
    model, seen = Net(), {}
    plain = copy.deepcopy(model)
    trainer = Trainer(cfg, model, Process(), Checkpoints(tmp_path), [])
    norm = precise()

    def evaluate(model, step):
        again = copy.deepcopy(model).train()
        precise().update(again, batches(step))
        seen[step] = {key: value.clone() for key, value in model.state_dict().items()}
        for key, value in again.state_dict().items():
            assert torch.equal(value, seen[step][key]), key
        return {}

    trainer.train(batches(0), evaluate, refine=lambda model, step: norm.update(model, batches(step)))
    assert list(seen) == [2, 4]
    saved = torch.load(tmp_path / "model_0000004.pth", weights_only=True)
    held = saved["averaged"] if decay else saved["model"]
    assert torch.equal(held["norm.running_mean"], seen[4]["norm.running_mean"])
    without = Trainer(cfg, plain, Process(), Checkpoints(tmp_path / "other"), [])
    without.train(batches(0))
    for (name, ours), theirs in zip(model.named_parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours, theirs), name
    assert torch.equal(model.norm.num_batches_tracked, plain.norm.num_batches_tracked)
    if decay:
        assert torch.equal(model.norm.running_mean, plain.norm.running_mean)
