"""Processes: alone without an environment, two that average their gradients."""

import os
import socket

import pytest
import torch
from torch import nn

from dense.engine.launch import Process, join, leave


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


@pytest.mark.slow
def test_wrap__two_processes__gradients_are_averaged(tmp_path):
    """Catches processes that train apart: data 1 and 2 give the gradient 1.5 in both."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(average, (f"tcp://127.0.0.1:{port}", tmp_path), nprocs=2)
    assert [torch.load(tmp_path / f"{rank}.pth").item() for rank in (0, 1)] == [1.5, 1.5]


def collect(rank, address, folder):
    """Process of the test below: writes what it gathered."""
    process = join(rank, 2, address)
    gathered = process.gather([(rank, k) for k in range(rank + 1)])
    (folder / f"gathered{rank}.txt").write_text(repr(gathered))
    leave()


@pytest.mark.slow
def test_gather__two_processes__all_lists_in_order_everywhere(tmp_path):
    """Catches results of other processes that are lost, doubled or out of order."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(collect, (f"tcp://127.0.0.1:{port}", tmp_path), nprocs=2)
    texts = {(tmp_path / f"gathered{rank}.txt").read_text() for rank in (0, 1)}
    assert texts == {"[(0, 0), (1, 0), (1, 1)]"}


def test_gather__alone__the_list_itself():
    """Catches a need for torch.distributed in a single process."""
    assert Process().gather([1, 2]) == [1, 2]
