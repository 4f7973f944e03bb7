"""Precise batch-norm statistics before an evaluation (Wu and Johnson, arXiv 2105.07576, §3)."""

import itertools
import logging
from collections.abc import Iterator
from typing import Any

import torch
from detectron2.config import CfgNode
from fvcore.nn.precise_bn import get_bn_modules, update_bn_stats
from torch import Tensor, nn

from dense.config.checks import check_ranges
from dense.engine.launch import Process
from dense.errors import ConfigError
from dense.layers import sum_over_processes

__all__ = ["PreciseNorm"]

logger = logging.getLogger(__name__)

Batch = list[dict[str, Any]]


class PreciseNorm:
    """Running statistics become those of TEST.PRECISE_BN.NUM_ITER training batches under the model's present weights.

    Only of batch norms in training mode; frozen ones stay. What else a model's forward pass changes, it changes here too.
    Processes take the mean of their statistics.
    """

    def __init__(self, cfg: CfgNode, process: Process) -> None:
        """Raises: ConfigError if NUM_ITER is below 1."""
        check_ranges(cfg, {"TEST.PRECISE_BN.NUM_ITER": (1, float("inf"))})
        self.batches, self.process = int(cfg.TEST.PRECISE_BN.NUM_ITER), process

    def update(self, model: nn.Module, batches: Iterator[Batch]) -> None:
        """Change the buffers in place.

        Args:
            model: in training mode.
            batches: this process's part of at least NUM_ITER training batches.

        Raises: ConfigError if the model uses one batch norm twice in a forward pass, so that it has no one batch.
        """
        norms = get_bn_modules(model)
        buffers = [dict(norm.named_buffers(recurse=False)) for norm in norms]
        counts = [kept["num_batches_tracked"].clone() for kept in buffers]
        logger.info("precise statistics of %d batch norms from %d batches", len(norms), self.batches)
        try:
            update_bn_stats(model, itertools.islice(batches, self.batches), self.batches)
        except AssertionError as error:
            raise ConfigError(
                f"TEST.PRECISE_BN.ENABLED: True, but this model cannot have precise statistics ({error}). Set it to False."
            ) from error
        for norm, kept, count in zip(norms, buffers, counts, strict=True):
            for name in ("running_mean", "running_var"):  # fvcore puts new tensors there; others hold on to the old ones
                self._keep(norm, name, kept[name])
            kept["num_batches_tracked"].copy_(count)

    @torch.no_grad()
    def _keep(self, norm: nn.Module, name: str, buffer: Tensor) -> None:
        buffer.copy_(sum_over_processes(getattr(norm, name)) / self.process.world_size)
        setattr(norm, name, buffer)
