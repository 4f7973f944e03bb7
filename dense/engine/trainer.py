"""Trainer: one step at a time, every random number a function of (seed, step, rank)."""

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

from dense.checkpoint.writing import save_weights
from dense.config.checks import Range, check_ranges
from dense.engine.launch import Process
from dense.engine.optimizers import build_optimizer, gradient_clipper
from dense.engine.progress import Writer
from dense.engine.schedules import build_schedule
from dense.engine.state import AveragedWeights, Checkpoints, ProcessMemories, step_seed
from dense.errors import NonFiniteError
from dense.modeling.training_protocols import FollowsTraining, RemembersTraining, ReportsFigures

__all__ = ["Trainer"]

logger = logging.getLogger(__name__)

Batch = list[dict[str, Any]]

_RANGES: dict[str, Range] = {
    "SOLVER.MAX_ITER": (1, math.inf),
    "SOLVER.ACCUMULATE": (1, math.inf),
    "SOLVER.CHECKPOINT_PERIOD": (1, math.inf),
    "SOLVER.LOG_PERIOD": (1, math.inf),
    "SOLVER.EMA_DECAY": (0, 1),
    "TEST.EVAL_PERIOD": (0, math.inf),
}


class Trainer:
    """Holds model, optimizer, schedule and (optionally) averaged weights; runs steps; saves and restores itself.

    Raises: ConfigError for a number of SOLVER.* or TEST.EVAL_PERIOD that no run can have.
    """

    def __init__(
        self, cfg: CfgNode, model: nn.Module, process: Process, checkpoints: Checkpoints, writers: Sequence[Writer]
    ) -> None:
        check_ranges(cfg, _RANGES)
        self.cfg, self.model, self.process, self.checkpoints, self.writers = cfg, model, process, checkpoints, writers
        self.device = torch.device(cfg.MODEL.DEVICE)
        self.optimizer = build_optimizer(cfg, model)
        self.schedule = build_schedule(cfg, self.optimizer)
        self.clip = gradient_clipper(cfg)
        amp = cfg.SOLVER.AMP.ENABLED
        self.precision = (torch.float16 if self.device.type == "cuda" else torch.bfloat16) if amp else None
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision is torch.float16)
        self.averaged = AveragedWeights(model, cfg.SOLVER.EMA_DECAY) if cfg.SOLVER.EMA_DECAY > 0 else None
        self.wrapped = process.wrap(model, self.device)
        self.step = 0

    def parts(self) -> dict[str, Any]:
        """Everything a continued run needs, by name."""
        parts: dict[str, Any] = {
            "model": self.model,
            "optimizer": self.optimizer,
            "scheduler": self.schedule,
            "scaler": self.scaler,
        }
        if self.averaged is not None:
            parts["averaged"] = self.averaged
        if isinstance(self.model, RemembersTraining):
            parts["memories"] = ProcessMemories(self.model, self.process)
        return parts

    def resume(self) -> bool:
        """Continue from the last checkpoint of the folder that can be read; False if there is none."""
        restored = self.checkpoints.load_last(self.parts())
        if restored is None:
            return False
        path, self.step = restored
        logger.info("continued from %s at step %d", path, self.step)
        return True

    def save(self) -> None:
        """Write a checkpoint (main process only; all of them must call this)."""
        state = {name: part.state_dict() for name, part in self.parts().items()}
        if self.process.is_main:
            path = self.checkpoints.save(self.step, state)
            logger.info("wrote %s", path)

    def save_weights(self, path: Path) -> None:
        """Write the weights alone (averaged where there are averages) as safetensors."""
        tensors = {**self.model.state_dict(), **(self.averaged.values if self.averaged else {})}
        save_weights(path, tensors, metadata={"config": self.cfg.dump(), "step": str(self.step)})
        logger.info("wrote %s", path)

    def train(
        self,
        batches: Iterator[Batch],
        evaluate: Callable[[nn.Module, int], dict[str, float]] | None = None,
        stop_after: int | None = None,
        refine: Callable[[nn.Module, int], None] | None = None,
    ) -> bool:
        """Run to SOLVER.MAX_ITER, or only to ``stop_after`` (a checkpoint is written there too).

        Args:
            batches: starts at batch ``self.step * SOLVER.ACCUMULATE``.
            evaluate: called every TEST.EVAL_PERIOD steps and at the end with the model and the step; its figures are written. A
                continued run begins with it if the run was killed after the checkpoint of such a step and before the figures.
            stop_after: number of steps, counted from the run's beginning; ``None`` = to the end.
            refine: called before the checkpoint of those steps with the model, in training mode and with the weights to be
                evaluated; it may change buffers.

        Returns: True if the run has come to SOLVER.MAX_ITER.
        """
        last, period = self.cfg.SOLVER.MAX_ITER, self.cfg.SOLVER.CHECKPOINT_PERIOD
        stop = last if stop_after is None else min(last, stop_after)
        self.wrapped.train()
        if evaluate is not None and self._evaluation_is_due() and not self.checkpoints.is_evaluated(self.step):
            self._evaluate(evaluate)
        while self.step < stop:
            started = time.monotonic()
            taken = [next(batches) for _ in range(self.cfg.SOLVER.ACCUMULATE)]
            data_time = time.monotonic() - started
            logged = (self.step + 1) % self.cfg.SOLVER.LOG_PERIOD == 0 or self.step + 1 == stop
            figures = self.run_step(*taken, logged=logged)
            self.step += 1
            if logged:
                figures |= {"data_time": data_time, "time": time.monotonic() - started}
                self._write(self.process.mean(figures))  # processes exchange them in logged steps only
            if refine is not None and self._evaluation_is_due():
                self._refine(refine)
            if self.step % period == 0 or self.step == stop:
                self.save()
            if evaluate is not None and self._evaluation_is_due():
                self._evaluate(evaluate)
        return self.step >= last

    def run_step(self, *batches: Batch, logged: bool = False) -> dict[str, float]:
        """One step on the mean gradient of one or several batches.

        Args:
            batches: their losses count the same, whatever their sizes.
            logged: ask the model for its figures (``ReportsFigures``).

        Returns: figures of the step in this process: losses (weighted, means over the batches), ``lr``, ``grad_norm`` where
            gradients are clipped, and the model's own.
        Raises: NonFiniteError naming the step and the batch's files if outputs, losses or gradients are NaN or infinite; the
            weights are then those before the step.
        """
        if isinstance(self.model, FollowsTraining):
            self.model.begin_step(self.step)
        if isinstance(self.model, ReportsFigures):
            self.model.want_figures(logged)
        rate = self.optimizer.param_groups[0]["lr"]
        self.optimizer.zero_grad(set_to_none=True)
        losses: dict[str, float] = {}
        for number, batch in enumerate(batches):
            torch.manual_seed(step_seed(self.cfg.SEED, self.step * len(batches) + number, self.process.rank))
            for name, value in self._add_gradient(batch, len(batches), number + 1 == len(batches)).items():
                losses[name] = losses.get(name, 0.0) + value
        self.scaler.unscale_(self.optimizer)
        norm = self.clip([p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None])
        if norm is not None and not self.scaler.is_enabled() and not torch.isfinite(norm):  # a scaler skips the step itself
            raise self._not_finite("the gradients are not finite.", *batches)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.schedule.step()
        if self.averaged is not None:
            self.averaged.update(self.model, self.step)
        own = self.model.training_figures() if logged and isinstance(self.model, ReportsFigures) else {}
        figures = {**own, "total_loss": sum(losses.values()), **losses, "lr": rate}
        return figures if norm is None else {**figures, "grad_norm": float(norm)}

    def _add_gradient(self, batch: Batch, parts: int, last: bool) -> dict[str, float]:
        """Forward and backward of one of ``parts`` batches; its share of the step's losses.

        Processes exchange gradients in the last one only.
        """
        waiting = not last and isinstance(self.wrapped, nn.parallel.DistributedDataParallel)
        with self.wrapped.no_sync() if waiting else contextlib.nullcontext():  # type: ignore[operator]
            try:
                with self._mixed_precision():
                    losses: dict[str, Tensor] = self.wrapped(batch)
                stacked = torch.stack(list(losses.values())) / parts
                values = dict(zip(losses, stacked.detach().tolist(), strict=True))  # one transfer from the device a batch
                bad = [name for name, value in values.items() if not math.isfinite(value)]
                if bad:
                    raise NonFiniteError(f"not finite: {', '.join(bad)}.")
            except NonFiniteError as error:
                raise self._not_finite(str(error), batch) from error
            self.scaler.scale(stacked.sum()).backward()
        return values

    def _mixed_precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=self.precision, enabled=self.precision is not None)

    def _not_finite(self, reason: str, *batches: Batch) -> NonFiniteError:
        names = [name for batch in batches for name in _file_names(batch)]
        return NonFiniteError(f"step {self.step}: {reason} Batch: {', '.join(names)}.")

    def _evaluation_is_due(self) -> bool:
        period = self.cfg.TEST.EVAL_PERIOD
        return self.step > 0 and ((period > 0 and self.step % period == 0) or self.step == self.cfg.SOLVER.MAX_ITER)

    def _refine(self, refine: Callable[[nn.Module, int], None]) -> None:
        torch.manual_seed(step_seed(self.cfg.SEED, self.step * self.cfg.SOLVER.ACCUMULATE, self.process.rank))
        with averaged_model(self.model, self.averaged):
            with self._mixed_precision():
                refine(self.model, self.step)
            if self.averaged is not None:
                self.averaged.take_buffers(self.model)

    def _evaluate(self, evaluate: Callable[[nn.Module, int], dict[str, float]]) -> None:
        with averaged_model(self.model, self.averaged):
            self.model.eval()
            figures = evaluate(self.model, self.step)
        self.wrapped.train()
        self._write({f"test/{name}": value for name, value in figures.items()})
        if self.process.is_main:
            self.checkpoints.mark_evaluated(self.step)

    def _write(self, figures: dict[str, float]) -> None:
        if self.process.is_main:
            for writer in self.writers:
                writer.write(self.step, figures)


class averaged_model:
    """Put the averaged weights into the model for the duration of a block (no effect without them)."""

    def __init__(self, model: nn.Module, averaged: AveragedWeights | None) -> None:
        self.model, self.averaged = model, averaged
        self.own: dict[str, Tensor] = {}

    def __enter__(self) -> nn.Module:
        if self.averaged is not None:
            self.own = {k: v.detach().clone() for k, v in self.model.state_dict().items() if k in self.averaged.values}
            self.model.load_state_dict(self.averaged.values, strict=False)
        return self.model

    def __exit__(self, *_: object) -> None:
        if self.averaged is not None:
            self.model.load_state_dict(self.own, strict=False)


def _file_names(batch: Batch) -> list[str]:
    names = []
    for record in batch:
        given = record.get("file_names") or record.get("file_name") or ["(no file name)"]
        names += [given] if isinstance(given, str) else list(given)
    return names
