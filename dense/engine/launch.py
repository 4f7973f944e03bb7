"""Processes of a run: one, several GPUs of one machine (``--num-gpus``), or whatever torchrun started."""

import os
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

from dense.errors import ConfigError
from dense.layers import share_statistics

Item = TypeVar("Item")

__all__ = ["Process", "join", "leave"]


@dataclass(frozen=True)
class Process:
    """This process's place: ``rank`` of ``world_size``, ``local_rank`` on its machine."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Writes files and the console."""
        return self.rank == 0

    def wrap(self, model: nn.Module, device: torch.device) -> nn.Module:
        """Average gradients over processes (no effect with one); on CPUs also the statistics of ``nn.SyncBatchNorm``."""
        if device.type == "cpu":
            model = share_statistics(model)
        if self.world_size == 1:
            return model
        devices = [self.local_rank] if device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(model, device_ids=devices)

    def gather(self, items: list[Item]) -> list[Item]:
        """The lists of all processes one after the other, in every process; waits for all of them."""
        if self.world_size == 1:
            return items
        parts: list[list[Item]] = [[] for _ in range(self.world_size)]
        torch.distributed.all_gather_object(parts, items)
        return [item for part in parts for item in part]

    def mean(self, figures: dict[str, float]) -> dict[str, float]:
        """Each figure averaged over the processes that have it, in every process; waits for all of them."""
        if self.world_size == 1:
            return figures
        values: dict[str, list[float]] = {}
        for part in self.gather([figures]):
            for name, value in part.items():
                values.setdefault(name, []).append(value)
        return {name: sum(found) / len(found) for name, found in values.items()}

    def barrier(self) -> None:
        """Wait for the other processes."""
        if self.world_size > 1:
            torch.distributed.barrier()


def join(rank: int | None = None, world_size: int | None = None, address: str = "env://", device: str = "cuda") -> Process:
    """Join the other processes (NCCL where they train on GPUs, else gloo).

    Args:
        rank: own number; ``None`` = from torchrun's environment, or alone when there is none.
        world_size: number of processes.
        address: where they meet.
        device: MODEL.DEVICE; "cpu" leaves GPUs alone.

    Raises: ConfigError if the processes cannot meet, there is no GPU for this one, or ``device`` is one GPU for all.
    """
    if rank is None:
        if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
            return Process()
        rank, world_size = _from_environment("RANK"), _from_environment("WORLD_SIZE")
    local_rank = _from_environment("LOCAL_RANK") if "LOCAL_RANK" in os.environ else rank
    gpu = torch.cuda.is_available() and device.startswith("cuda")
    if gpu:
        if device != "cuda" and (world_size or 1) > 1:
            raise ConfigError(
                f"MODEL.DEVICE: {device!r} with {world_size} processes, expected 'cuda': each takes a GPU of its own."
            )
        if local_rank >= torch.cuda.device_count():
            raise ConfigError(f"process {rank}: GPU {local_rank} asked for, {torch.cuda.device_count()} present.")
        torch.cuda.set_device(local_rank)
    backend = "nccl" if gpu else "gloo"
    try:
        torch.distributed.init_process_group(backend, init_method=address, rank=rank, world_size=world_size or 1)
    except (RuntimeError, ValueError) as error:  # port taken, a process that does not come, MASTER_ADDR missing
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f"process {rank} of {world_size or 1} cannot meet the others at {address} ({reason}). Give another --dist-url, or"
            " start all of them with torchrun."
        ) from error
    return Process(rank, world_size or 1, local_rank)


def _from_environment(name: str) -> int:
    text = os.environ[name]
    if not text.isdecimal():
        raise ConfigError(
            f"environment variable {name}: {text!r}, expected a number as torchrun sets it. Unset it, or use torchrun."
        )
    return int(text)


def leave() -> None:
    """Part from the other processes."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
