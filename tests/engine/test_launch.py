"""Processes: alone without an environment, two that average their gradients."""

import os
import socket

import pytest
import torch
from torch import nn

from dense.engine.launch import Process, join, leave
from dense.errors import ConfigError


def test_join__no_environment__alone(monkeypatch):
    """Catches a run on a laptop that waits for others."""
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    process = join()
    assert process == Process()
    assert process.is_main
    model = nn.Linear(1, 1)
    assert process.wrap(model, torch.device("cpu")) is model
    process.barrier()
    leave()


@pytest.fixture
def torchrun(monkeypatch):
    """Function that sets the environment of a process as torchrun does."""

    def set_variables(**variables):
        for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_variables


def test_join__environment_without_a_number__names_the_variable(torchrun):
    """Catches a ValueError of int() when somebody set RANK by hand."""
    torchrun(RANK="first", WORLD_SIZE="2")
    with pytest.raises(ConfigError, match="environment variable RANK: 'first'"):
        join()


def test_join__nobody_to_meet__one_line(torchrun):
    """Catches torch's own error when the address is missing."""
    torchrun(RANK="0", WORLD_SIZE="2")
    with pytest.raises(ConfigError, match=r"process 0 of 2 cannot meet the others at env://.*MASTER_ADDR") as caught:
        join()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("device", "backend"), [("cpu", "gloo"), ("cuda", "nccl")])
def test_join__training_on_the_cpu_of_a_machine_with_gpus__leaves_them_alone(torchrun, monkeypatch, device, backend):
    """Catches NCCL, which cannot exchange tensors on the CPU, chosen because a GPU happens to be there."""
    torchrun(RANK="0", WORLD_SIZE="2")
    asked = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_device", lambda index: asked.append(index))
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda backend, **_: asked.append(backend))
    assert join(device=device) == Process(0, 2, 0)
    assert asked == ([backend] if device == "cpu" else [0, backend])
    with pytest.raises(ConfigError, match=r"MODEL\.DEVICE: 'cuda:0' with 2 processes"):
        join(device="cuda:0")  # both would take the same GPU


def average(rank, address, folder):
    """One of two processes: the gradient of its own data."""
    os.environ["LOCAL_RANK"] = str(rank)
    torch.set_num_threads(1)
    process = join(rank, 2, address)
    try:
        model = nn.Linear(1, 1, bias=False)
        torch.nn.init.ones_(model.weight)
        wrapped = process.wrap(model, torch.device("cpu"))
        wrapped(torch.tensor([[float(rank + 1)]])).sum().backward()
        process.barrier()
        torch.save(model.weight.grad, folder / f"{rank}.pth")
    finally:
        leave()


@pytest.fixture
def run_two(tmp_path):
    """Function that runs ``work(rank, address, folder)`` in two processes; gives the folder."""

    def run(work):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        torch.multiprocessing.spawn(work, (f"tcp://127.0.0.1:{port}", tmp_path), nprocs=2)
        return tmp_path

    return run


@pytest.mark.slow
def test_wrap__two_processes__gradients_are_averaged(run_two):
    """Catches processes that train apart: data 1 and 2 give the gradient 1.5 in both."""
    folder = run_two(average)
    assert [torch.load(folder / f"{rank}.pth").item() for rank in (0, 1)] == [1.5, 1.5]


def collect(rank, address, folder):
    """Process of the test below: writes what it gathered."""
    process = join(rank, 2, address)
    gathered = process.gather([(rank, k) for k in range(rank + 1)])
    means = process.mean({"loss": 1.0 + rank, **({"of_one": 5.0} if rank else {})})
    (folder / f"gathered{rank}.txt").write_text(f"{gathered} {means}")
    leave()


@pytest.mark.slow
def test_gather_and_mean__two_processes__everything_in_order_everywhere(run_two):
    """Catches results of other processes that are lost, doubled or out of order, and figures that are not averaged."""
    folder = run_two(collect)
    texts = {(folder / f"gathered{rank}.txt").read_text() for rank in (0, 1)}
    assert texts == {"[(0, 0), (1, 0), (1, 1)] {'loss': 1.5, 'of_one': 5.0}"}


def test_gather__alone__the_list_itself():
    """Catches a need for torch.distributed in a single process."""
    assert Process().gather([1, 2]) == [1, 2]
