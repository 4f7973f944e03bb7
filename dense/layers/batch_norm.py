"""Batch norm with the statistics of all processes of a distributed run, on GPUs and on CPUs."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dense.layers.process_sum import process_count, sum_over_processes

__all__ = ["SharedBatchNorm", "share_statistics"]


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch norm over all processes; ``nn.SyncBatchNorm`` where that works, which is on GPUs only.

    It is no subclass of ``nn.SyncBatchNorm`` because ``DistributedDataParallel`` refuses those on CPUs. Names in the state dict
    are those of ``nn.BatchNorm2d``. On CPUs input and gradient of a batch of one image are brought to one memory layout: torch
    2.14.1 returns wrong gradients where one is channels-first and the other channels-last.
    """

    process_group = None  # all processes; nn.SyncBatchNorm.forward reads it

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"batch norm: input of {input.dim()} dimensions, expected (B, C, …)")

    def _check_non_zero_input_channels(self, input: Tensor) -> None:  # nn.SyncBatchNorm.forward calls it
        if input.shape[1] == 0:
            raise ValueError("batch norm: input without channels")

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, …)`` → same."""
        if x.device.type != "cpu":
            return nn.SyncBatchNorm.forward(self, x)  # type: ignore[arg-type]
        if self.training and process_count() > 1:
            return self._over_processes(x)
        if len(x) > 1:
            return _BatchNorm.forward(self, x)
        out = _BatchNorm.forward(self, x.contiguous())
        if out.requires_grad:
            out.register_hook(Tensor.contiguous)
        return out

    def _over_processes(self, x: Tensor) -> Tensor:
        """Mean, then mean of squares about it: two rounds, but no digits lost as with the mean of squares about 0."""
        others = [0, *range(2, x.dim())]
        shape = (1, -1, *[1] * (x.dim() - 2))
        values = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        sums = sum_over_processes(torch.cat([values.sum(others), values.new_tensor([x.numel() / x.shape[1]])]))
        count = sums[-1].detach()
        mean = sums[:-1] / count  # (C,)
        centred = values - mean.view(shape)
        variance = sum_over_processes((centred**2).sum(others)) / count  # (C,)
        self._remember(mean.detach(), variance.detach(), count)
        out = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            out = out * self.weight.view(shape) + self.bias.view(shape)
        return out.to(x.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_((variance * count / (count - 1).clamp(min=1)).to(self.running_var.dtype), share)


def share_statistics(model: nn.Module) -> nn.Module:
    """Put a ``SharedBatchNorm`` in place of each ``nn.SyncBatchNorm``, with the same parameters and buffers.

    Returns: the model itself, changed in place; another module only if it is an ``nn.SyncBatchNorm``.
    """
    if isinstance(model, nn.SyncBatchNorm):
        norm = SharedBatchNorm(model.num_features, model.eps, model.momentum, model.affine, model.track_running_stats)
        for name, parameter in model.named_parameters(recurse=False):
            setattr(norm, name, parameter)
        for name, buffer in model.named_buffers(recurse=False):
            setattr(norm, name, buffer)
        return norm.train(model.training)
    for name, child in model.named_children():
        shared = share_statistics(child)
        if shared is not child:
            setattr(model, name, shared)
    return model
