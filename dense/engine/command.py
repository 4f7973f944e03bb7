"""The ``train`` command line: train, continue, evaluate; Detectron2's arguments and ``KEY VALUE`` pairs."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from dense.command_line import new_parser, run_command
from dense.errors import ConfigError

if TYPE_CHECKING:
    from detectron2.config import CfgNode
    from torch import nn

    from dense.data.loaders.build import TrainLoader
    from dense.engine.launch import Process

__all__ = ["build_parser", "main"]

logger = logging.getLogger(__name__)

_EXAMPLES = """examples:
  train_net.py --config-file configs/world/minvis_lite0.yaml
  train_net.py --config-file configs/world/minvis_lite0.yaml --resume
  train_net.py --config-file configs/world/ctvis_lite0.yaml --eval-only MODEL.WEIGHTS weights/world_ctvis_lite0.safetensors
  train_net.py --config-file configs/dvis/ytvis19/minvis_r50.yaml --num-gpus 8
  torchrun --nproc-per-node 2 tools/train_net.py --config-file FILE MODEL.DEVICE cpu
own data, no code (annotations in the YouTube-VIS format, a colon, the folder of frames):
  train_net.py --config-file FILE DATASETS.TRAIN '("my/train.json:my/frames",)' MODEL.SEM_SEG_HEAD.NUM_CLASSES 5
"""


def build_parser() -> argparse.ArgumentParser:
    """The arguments."""
    parser = new_parser("train_net.py", "Train a model, continue a run, or evaluate weights.", _EXAMPLES)
    parser.add_argument("--config-file", required=True, metavar="FILE", help="YAML file, ours or an official one")
    parser.add_argument("--resume", action="store_true", help="continue from the last checkpoint in OUTPUT_DIR")
    parser.add_argument(
        "--stop-after", type=int, metavar="STEPS", help="stop at this step; --resume goes on (schedule unchanged)"
    )
    parser.add_argument("--eval-only", action="store_true", help="evaluate MODEL.WEIGHTS on DATASETS.TEST")
    parser.add_argument(
        "--num-gpus", type=int, default=1, metavar="N", help="processes on this machine, a GPU each (default 1)"
    )
    parser.add_argument("--dist-url", default="tcp://127.0.0.1:29517", metavar="URL", help="where processes of --num-gpus meet")
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE", help="configuration values")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns: 0 done, 1 wrong input (one line on stderr). Wrong usage exits with 2.
    """
    arguments = build_parser().parse_intermixed_args(argv)
    return run_command(lambda: _start(arguments), debug=arguments.debug, interrupted="interrupted; continue with --resume")


def _start(arguments: argparse.Namespace) -> int | None:
    if arguments.num_gpus < 1:
        raise ConfigError(f"--num-gpus {arguments.num_gpus}: expected 1 or more.")
    if arguments.num_gpus > 1 and "RANK" not in os.environ:
        return _spawn(arguments)
    _run(arguments)
    return None


def _spawn(arguments: argparse.Namespace) -> int:
    """One process per GPU; the exit status of the first that failed."""
    import torch

    from dense.config import load_config

    cfg = load_config(arguments.config_file, arguments.opts)  # one message for a wrong one, not one from each process
    available = torch.cuda.device_count() if cfg.MODEL.DEVICE.startswith("cuda") else 0
    if available and arguments.num_gpus > available:
        raise ConfigError(f"--num-gpus {arguments.num_gpus}: {available} GPUs present.")
    try:
        torch.multiprocessing.spawn(_worker, (arguments,), nprocs=arguments.num_gpus)
    except torch.multiprocessing.ProcessExitedException as error:  # the process has said why
        return error.exit_code
    return 0


def _worker(rank: int, arguments: argparse.Namespace) -> None:
    os.environ["LOCAL_RANK"] = str(rank)
    code = run_command(lambda: _run(arguments, rank), debug=arguments.debug)
    if code:
        raise SystemExit(code)


def _run(arguments: argparse.Namespace, rank: int | None = None) -> None:
    from dense.config import load_config
    from dense.engine.launch import join, leave
    from dense.engine.run_length import in_iterations

    cfg = load_config(arguments.config_file, arguments.opts)
    world_size, address = (None, "env://") if rank is None else (arguments.num_gpus, arguments.dist_url)
    process = join(rank, world_size, address, cfg.MODEL.DEVICE)
    folder = Path(cfg.OUTPUT_DIR)
    try:
        if arguments.eval_only:
            _prepare(cfg, process, folder / "inference" / "config.yaml")  # that of the run stays
            _evaluate_only(cfg, process)
        else:
            _check_start(cfg, arguments.resume)
            cfg = in_iterations(cfg, process.world_size)
            process.barrier()  # nobody writes before all have looked
            _prepare(cfg, process, folder / "config.yaml")
            _train(cfg, process, arguments.resume, arguments.stop_after)
    finally:
        leave()


def _check_start(cfg: "CfgNode", resume: bool) -> None:
    """Find out before the first step what would otherwise end the run after the last, and touch nothing of an older run."""
    from dense.engine.state import Checkpoints

    folder = Path(cfg.OUTPUT_DIR)
    if not resume and Checkpoints(folder).last() is not None:
        raise ConfigError(f"OUTPUT_DIR {folder} holds a run already. Continue it with --resume, or give another OUTPUT_DIR.")
    _check_training_kinds(cfg)
    _check_test_sets(cfg)


def _check_training_kinds(cfg: "CfgNode") -> None:
    from dense.config.architectures import is_detector
    from dense.data.datasets import with_kinds

    for name, kind in with_kinds(cfg.DATASETS.TRAIN, cfg.DATASETS.DATASET_TYPE) if is_detector(cfg) else ():
        if kind != "image_instance":
            raise ConfigError(
                f"DATASETS.TRAIN: {name!r} is of kind {kind!r}, but a {cfg.MODEL.META_ARCHITECTURE} learns from"
                " 'image_instance' sets only (DATASETS.DATASET_TYPE says the kind of own data)."
            )


def _check_test_sets(cfg: "CfgNode") -> None:
    from dense.config.architectures import class_count, class_key
    from dense.data.datasets import find_dataset, with_kinds
    from dense.engine.scoring import find_scorer

    classes = class_count(cfg)
    for name, kind in with_kinds(cfg.DATASETS.TEST, cfg.DATASETS.DATASET_TYPE_TEST):
        find_scorer(name, kind)
        known = len(find_dataset(name, kind).read().category_names)
        if classes > known:
            raise ConfigError(
                f"DATASETS.TEST: {name!r} has {known} categories, but the model has {classes} ({class_key(cfg)})."
                " Set the number of the data set that it is trained on, and test on one with the same categories."
            )


def _prepare(cfg: "CfgNode", process: "Process", record: Path) -> None:
    """Log to the console and to OUTPUT_DIR/log.txt (main process), keep the configuration in ``record`` beside the results."""
    import torch

    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout)]
    if process.is_main:
        from dense.io import atomic_write

        with atomic_write(record) as stream:
            stream.write(cfg.dump())
        handlers.append(logging.FileHandler(Path(cfg.OUTPUT_DIR) / "log.txt", encoding="utf-8"))
    level = logging.INFO if process.is_main else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", handlers=handlers, force=True)
    torch.manual_seed(max(cfg.SEED, 0))  # initial weights, the same in every process


def _train(cfg: "CfgNode", process: "Process", resume: bool, stop_after: int | None) -> None:
    from dense.data.loaders.config import train_loader_from_config
    from dense.engine.precise_norm import PreciseNorm
    from dense.engine.progress import ConsoleWriter, JSONWriter, TensorBoardWriter, Writer
    from dense.engine.scoring import evaluate_model
    from dense.engine.state import Checkpoints
    from dense.engine.trainer import Trainer
    from dense.modeling import build_model

    folder = Path(cfg.OUTPUT_DIR)
    writers: list[Writer] = []
    if process.is_main:
        writers = [ConsoleWriter(cfg.SOLVER.MAX_ITER), JSONWriter(folder / "metrics.json"), TensorBoardWriter(folder)]
    checkpoints = Checkpoints(folder)
    if process.is_main:
        checkpoints.remove_leftovers()
    trainer = Trainer(cfg, build_model(cfg), process, checkpoints, writers)
    if resume and not trainer.resume():
        logger.info("nothing to continue in %s; starting at step 0", folder)

    def batches(step: int) -> "TrainLoader":
        return train_loader_from_config(cfg, step * cfg.SOLVER.ACCUMULATE, process.rank, process.world_size)

    def evaluate(model: "nn.Module", step: int) -> dict[str, float]:
        return evaluate_model(cfg, model, process)

    def refine(model: "nn.Module", step: int) -> None:
        with closing(batches(step)) as coming:
            precise.update(model, coming)

    precise = PreciseNorm(cfg, process)
    loader = batches(trainer.step)
    try:
        finished = trainer.train(
            loader,
            evaluate if cfg.DATASETS.TEST else None,
            stop_after,
            refine if cfg.TEST.PRECISE_BN.ENABLED else None,
        )
    finally:
        loader.close()
        for writer in writers:
            writer.close()
    if process.is_main and finished:
        trainer.save_weights(folder / "model_final.safetensors")


def _evaluate_only(cfg: "CfgNode", process: "Process") -> None:
    from dense.engine.scoring import evaluate_model
    from dense.modeling import build_model

    if not cfg.MODEL.WEIGHTS:
        raise ConfigError("--eval-only needs MODEL.WEIGHTS FILE.")
    _check_test_sets(cfg)
    evaluate_model(cfg, build_model(cfg).eval(), process)
