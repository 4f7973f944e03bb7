"""Processes of a run: one, several GPUs of one machine (``--num-gpus``), or whatever torchrun started."""

import os
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

from dense.errors import ConfigError

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
        """Average gradients over processes (no effect with one)."""
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

    def barrier(self) -> None:
        """Wait for the other processes."""
        if self.world_size > 1:
            torch.distributed.barrier()


def join(rank: int | None = None, world_size: int | None = None, address: str = "env://") -> Process:
    """Join the other processes (NCCL with GPUs, else gloo).

    Args:
        rank: own number; ``None`` = from torchrun's environment, or alone when there is none.
        world_size: number of processes.
        address: where they meet.
    """
    if rank is None:
        if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
            return Process()
        rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    local_rank = int(os.environ.get("LOCAL_RANK", rank))
    gpu = torch.cuda.is_available()
    if gpu:
        if local_rank >= torch.cuda.device_count():
            raise ConfigError(f"process {rank}: GPU {local_rank} asked for, {torch.cuda.device_count()} present.")
        torch.cuda.set_device(local_rank)
    torch.distributed.init_process_group("nccl" if gpu else "gloo", init_method=address, rank=rank, world_size=world_size or 1)
    return Process(rank, world_size or 1, local_rank)


def leave() -> None:
    """Part from the other processes."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
