"""Batch norm over all devices of a distributed run, where torch can do that."""

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["SharedBatchNorm"]


class SharedBatchNorm(nn.SyncBatchNorm):
    """``nn.SyncBatchNorm``; on CPUs, where that one raises in a distributed run, each process computes its own statistics.

    Names in the state dict are those of ``nn.BatchNorm2d``. On CPUs input and gradient are brought to one memory layout: with a
    batch of one image, torch 2.14.1 returns wrong gradients where one is channels-first and the other channels-last.
    """

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, …)`` → same."""
        if x.device.type != "cpu":
            return super().forward(x)
        out = _BatchNorm.forward(self, x.contiguous())
        if out.requires_grad:
            out.register_hook(Tensor.contiguous)
        return out
