"""A model of two parameters, made-up batches, and a trainer around them."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from dense import load_config
from dense.engine.launch import Process
from dense.engine.state import Checkpoints
from dense.engine.trainer import Trainer


class Toy(nn.Module):
    """``w·x + b`` with noise from torch's generator, as points are drawn in real losses."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(0.5))
        self.b = nn.Parameter(torch.tensor(-0.25))

    def forward(self, batch):
        x = torch.stack([record["x"] for record in batch])
        noise = torch.rand(x.shape)
        error = self.w * x + self.b - 3.0 * x + 0.1 * noise
        return {"loss_square": (error**2).mean(), "loss_abs": error.abs().mean()}


def batch_of(step):
    """The batch is a function of the step alone."""
    generator = torch.Generator().manual_seed(1000 + step)
    return [{"x": torch.rand((), generator=generator), "file_names": [f"video{step}/{i}.jpg"]} for i in range(2)]


def batches(first):
    """Batches from a step on."""
    while True:
        yield batch_of(first)
        first += 1


class Recorder:
    """A writer that keeps what it was given."""

    def __init__(self):
        self.rows, self.closed = [], False

    def write(self, step, figures):
        self.rows.append((step, dict(figures)))

    def close(self):
        self.closed = True


@pytest.fixture
def toy_config():
    """Function from overrides to a configuration for the toy."""
    base = ["MODEL.DEVICE", "cpu", "SOLVER.MAX_ITER", 12, "SOLVER.BASE_LR", 0.05, "SOLVER.CHECKPOINT_PERIOD", 4]
    base += ["SOLVER.LR_SCHEDULER_NAME", "WarmupCosineLR", "SOLVER.WARMUP_ITERS", 3, "SOLVER.EMA_DECAY", 0.9, "SEED", 3]
    return lambda *options: load_config(None, [*base, *options])


@pytest.fixture
def make_trainer(toy_config, tmp_path):
    """Function from overrides to a trainer of a new toy, and the writer it writes to."""

    def make(*options, folder=None, process=None):
        recorder = Recorder()
        checkpoints = Checkpoints(folder or tmp_path / "run")
        return Trainer(toy_config(*options), Toy(), process or Process(), checkpoints, [recorder]), recorder

    return make


@pytest.fixture(scope="session")
def cases_folder():
    """The hard cases."""
    return Path(__file__).resolve().parents[1] / "data" / "cases"


@pytest.fixture
def feed():
    """The batches by step."""
    return SimpleNamespace(batch_of=batch_of, batches=batches)
