"""Runs of a pretraining: two processes give the numbers of one, a killed run those of an unbroken one.

``CONFIGS`` lists the models: a toy with the shape of a pretraining, and each real one by its file.
"""

import json
import os
import socket
from pathlib import Path

import pytest
import torch
from detectron2.modeling import META_ARCH_REGISTRY, build_backbone
from torch import nn
from torch.nn import functional

from dense import load_config
from dense.engine.launch import Process, join, leave
from dense.engine.progress import JSONWriter
from dense.engine.state import Checkpoints
from dense.engine.trainer import Trainer
from dense.layers import SharedBatchNorm, process_count, sum_over_processes
from dense.modeling import build_model
from dense.modeling.training_protocols import FollowsTraining, ReportsFigures

FILES = Path(__file__).resolve().parents[1] / "data" / "configs"
CONFIGS = {name: FILES / f"{name}.yaml" for name in ("two_branch_toy", "pixpro_small")}
SIZE = {"two_branch_toy": 32, "pixpro_small": 64}  # views, pixels


@META_ARCH_REGISTRY.register()
class TwoBranchToy(nn.Module):
    """Cosine between two views' embeddings, a spread over the whole batch, and a momentum copy that moves once a step."""

    def __init__(self, cfg):
        super().__init__()
        self.backbone, self.target = build_backbone(cfg), build_backbone(cfg)
        (self.feature,) = cfg.MODEL.RESNETS.OUT_FEATURES
        self.projector = nn.Linear(self.backbone.output_shape()[self.feature].channels, 8)
        self.target.load_state_dict(self.backbone.state_dict())
        self.target.requires_grad_(False)
        self.momentum, self.moved, self.wanted, self.noise = 1.0, True, False, 0.0

    def begin_step(self, step):
        self.momentum, self.moved = min(0.9 + 0.01 * step, 1.0), False

    def want_figures(self, flag):
        self.wanted = flag

    def training_figures(self):
        return self.figures

    def forward(self, batch):
        views = torch.stack([record["views"] for record in batch]).float() / 255 - 0.5
        first, second = views.unbind(1)
        online = self._embed(self.backbone, first), self._embed(self.backbone, second)
        self._move_target()
        with torch.no_grad():
            other = self._embed(self.target, second), self._embed(self.target, first)
        cosine = sum(functional.cosine_similarity(a, b).mean() for a, b in zip(online, other, strict=True)) / 2
        count = len(batch) * process_count()
        mean = sum_over_processes(online[0].sum(0)) / count
        spread = sum_over_processes(((online[0] - mean) ** 2).sum(0)) / count
        if self.wanted:
            self.figures = {"positive_cosine": float(cosine.detach())}
        noise = 1 + self.noise * torch.rand(())  # as points are drawn
        return {"loss_cosine": -cosine * noise, "loss_spread": (spread - 1).abs().mean()}

    def _embed(self, backbone, images):
        return self.projector(backbone(images)[self.feature].mean((2, 3)))

    @torch.no_grad()
    def _move_target(self):
        if not self.moved:
            for ours, theirs in zip(self.target.parameters(), self.backbone.parameters(), strict=True):
                ours.lerp_(theirs, 1 - self.momentum)
            self.moved = True


def record(index, size):
    """What the mapper of two views gives for image ``index``: overlapping crops of smooth noise with their vectors."""
    generator = torch.Generator().manual_seed(index)
    image = functional.interpolate(torch.rand(1, 3, 8, 8, generator=generator), (size * 2, size * 2), mode="bilinear")[0]
    corners = torch.randint(0, size // 2, (2, 2), generator=generator).tolist()
    views = torch.stack([image[:, y : y + size, x : x + size] for y, x in corners])
    coords = torch.tensor([[x, y, x + size - 1, y + size - 1] for y, x in corners], dtype=torch.float32)
    return {"views": (views * 255).byte(), "coords": coords, "file_name": f"image{index}.png", "index": index}


def part(number, count, size, rank=0, world_size=1):
    """A process's contiguous part of batch ``number`` of the whole run."""
    share = count // world_size
    return [record(number * count + rank * share + i, size) for i in range(share)]


def new_trainer(name, options, folder, process=None, writers=(), noise=0.0):
    """A trainer of a new model with the configuration's seed."""
    cfg = load_config(CONFIGS[name], options)
    torch.manual_seed(cfg.SEED)
    model = build_model(cfg)
    if hasattr(model, "noise"):
        model.noise = noise
    return Trainer(cfg, model.train(), process or Process(), Checkpoints(folder), list(writers))


CASES = {"plain": ["MODEL.RESNETS.NORM", "SyncBN"], "apart": ["MODEL.RESNETS.NORM", "BN"]}
CASES["accumulated"] = [*CASES["plain"], "SOLVER.ACCUMULATE", 2]


def few_steps(process, name, options, folder):
    """Three steps on this process's parts: the mean losses, the weights, whether a batch norm is over all processes."""
    trainer = new_trainer(name, options, folder, process)
    accumulate, count = trainer.cfg.SOLVER.ACCUMULATE, trainer.cfg.SOLVER.IMS_PER_BATCH
    losses = []
    for step in range(3):
        numbers = range(step * accumulate, (step + 1) * accumulate)
        parts = [part(number, count, SIZE[name], process.rank, process.world_size) for number in numbers]
        losses.append(process.mean(trainer.run_step(*parts)))
        trainer.step += 1
    shared = any(isinstance(module, SharedBatchNorm) for module in trainer.model.modules())
    return {"losses": losses, "weights": trainer.model.state_dict(), "shared": shared}


def one_norm(norm, rank, world_size):
    """Output, gradients and buffers of a batch norm in double precision on this process's two images of four."""
    generator = torch.Generator().manual_seed(0)
    x, gradient = (torch.randn(4, 3, 5, 6, generator=generator).double() * 2 + 7 for _ in range(2))
    share = slice(rank * 4 // world_size, (rank + 1) * 4 // world_size)
    norm = norm.double()
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.5, 1.0, 2.0]))
    leaf = x[share].clone().requires_grad_()
    out = norm(leaf)
    (out * gradient[share]).sum().backward()
    return {
        "out": out.detach(),
        "x": leaf.grad,
        "weight": norm.weight.grad,
        "bias": norm.bias.grad,
        **dict(norm.named_buffers()),
    }


def work(rank, world_size, address, folder, outcomes):
    """One of the processes: every case of every model, and a batch norm alone; written to ``outcomes``."""
    os.environ["LOCAL_RANK"] = str(rank)
    torch.set_num_threads(1)
    process = join(rank, world_size, address, "cpu") if world_size > 1 else Process()
    try:
        found = {(name, case): few_steps(process, name, options, folder) for name in CONFIGS for case, options in CASES.items()}
        for momentum in (0.1, None):
            found["norm", momentum] = one_norm(SharedBatchNorm(3, momentum=momentum), rank, world_size)
        torch.save(found, outcomes / f"of{world_size}_{rank}.pth")
    finally:
        leave()


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What one process alone gives, and what both of two give."""
    folder = tmp_path_factory.mktemp("processes")
    work(0, 1, "", folder, folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(work, (2, f"tcp://127.0.0.1:{port}", folder, folder), nprocs=2)
    return [torch.load(folder / f"{file}.pth") for file in ("of1_0", "of2_0", "of2_1")]


def worst(ours, theirs):
    """Greatest difference of two state dicts, each tensor relative to its largest entry."""
    assert ours.keys() == theirs.keys()
    return max(float((ours[k].double() - theirs[k].double()).abs().max() / theirs[k].abs().max().clamp(min=1e-2)) for k in ours)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["plain", "accumulated"])
@pytest.mark.parametrize("name", CONFIGS)
def test_two_processes__half_batches__numbers_of_one(outcomes, name, case):
    """Catches statistics, gathered features or gradients that stay in a process, or are summed where a mean belongs."""
    alone, *both = (outcome[name, case] for outcome in outcomes)
    for one in both:
        assert one["shared"]
        for ours, theirs in zip(one["losses"], alone["losses"], strict=True):
            assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-6)
        assert worst(one["weights"], alone["weights"]) < 5e-5  # float32; sums in another order
    assert worst(both[0]["weights"], both[1]["weights"]) == 0
    assert len({row["total_loss"] for row in alone["losses"]}) == 3


@pytest.mark.slow
def test_two_processes__batch_norm_apart__other_numbers(outcomes):
    """Catches the test above passing whatever the batch norm does."""
    alone, first, _ = (outcome["two_branch_toy", "apart"] for outcome in outcomes)
    assert not first["shared"]
    assert abs(first["losses"][1]["total_loss"] - alone["losses"][1]["total_loss"]) > 5e-3
    assert worst(first["weights"], alone["weights"]) > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("momentum", [0.1, None])
def test_shared_batch_norm__two_processes__batch_norm_of_the_whole_batch(outcomes, momentum):
    """Catches a biased running variance, a gradient without the other process's share, and digits lost far from 0."""
    expected = one_norm(nn.BatchNorm2d(3, momentum=momentum), 0, 1)
    parts = [outcome["norm", momentum] for outcome in outcomes[1:]]
    found = {key: torch.cat([p[key] for p in parts]) for key in ("out", "x")}
    found |= {key: parts[0][key] + parts[1][key] for key in ("weight", "bias")}  # DistributedDataParallel takes their mean
    found |= {key: parts[0][key] for key in ("running_mean", "running_var", "num_batches_tracked")}
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-11, atol=1e-11, msg=key)


def stream(first, count, size):
    """Batches of a run from number ``first`` on."""
    while True:
        yield part(first, count, size)
        first += 1


def rows(folder):
    """The lines of metrics.json without the clock's figures."""
    lines = [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]
    return {line.pop("iteration"): {k: v for k, v in line.items() if "time" not in k} for line in lines}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize(("killed_at", "saved_at"), [(5, 4), (4, 4), (3, 2)])
def test_resume__lars_accumulation_and_figures__same_numbers_to_the_bit(tmp_path, name, killed_at, saved_at):
    """Catches velocities, schedule, place in the data or the momentum copy lost, and figures that disturb the losses."""
    options = ["SOLVER.ACCUMULATE", 2, "SOLVER.MAX_ITER", 6, "SOLVER.CHECKPOINT_PERIOD", 2, "SOLVER.IMS_PER_BATCH", 4]

    def trainer(folder, log_period):
        (tmp_path / folder).mkdir(exist_ok=True)
        writer = JSONWriter(tmp_path / folder / "metrics.json")
        return new_trainer(name, [*options, "SOLVER.LOG_PERIOD", log_period], tmp_path / folder, None, [writer], noise=0.1)

    def batches(step, until=None):
        for number, batch in enumerate(stream(step * 2, 4, SIZE[name]), step * 2):
            if number == until:
                raise KeyboardInterrupt
            yield batch

    whole = trainer("whole", 1)
    assert whole.train(batches(0))
    first = trainer("killed", 3)
    with pytest.raises(KeyboardInterrupt):
        first.train(batches(0, killed_at * 2 + 1))  # between the two batches of a step
    second = trainer("killed", 1)
    assert second.resume()
    assert second.step == saved_at
    assert second.train(batches(saved_at))
    expected, found = rows(tmp_path / "whole"), rows(tmp_path / "killed")
    assert all(found[step] == expected[step] for step in range(saved_at + 1, 7))
    assert len({row["total_loss"] for row in expected.values()}) == 6
    for key, value in whole.model.state_dict().items():
        assert torch.equal(second.model.state_dict()[key], value), key
    for a, b in zip(whole.optimizer.state.values(), second.optimizer.state.values(), strict=True):
        assert torch.equal(a["momentum_buffer"], b["momentum_buffer"])


@pytest.mark.parametrize("name", CONFIGS)
def test_train__model_with_figures__written_beside_the_losses(tmp_path, name):
    """Catches figures that are added to the loss, asked for in steps that nobody sees, or not written."""
    folder = tmp_path / "run"
    folder.mkdir()
    options = ["SOLVER.MAX_ITER", 5, "SOLVER.LOG_PERIOD", 2]
    trainer = new_trainer(name, options, folder, None, [JSONWriter(folder / "metrics.json")])
    assert isinstance(trainer.model, FollowsTraining)
    assert isinstance(trainer.model, ReportsFigures)
    asked, want = [], trainer.model.want_figures
    trainer.model.want_figures = lambda flag: (asked.append(flag), want(flag))
    trainer.train(stream(0, 8, SIZE[name]))
    assert asked == [False, True, False, True, True]
    for row in rows(folder).values():
        losses = [value for key, value in row.items() if key.startswith("loss_")]
        assert row["total_loss"] == pytest.approx(sum(losses), rel=1e-6)
        assert -1 <= row["positive_cosine"] <= 1
