"""The ``train`` command line: train, continue, evaluate; Detectron2's arguments and ``KEY VALUE`` pairs."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dense.errors import ConfigError, DenseError

if TYPE_CHECKING:
    from detectron2.config import CfgNode

    from dense.engine.launch import Process

__all__ = ["build_parser", "main"]

logger = logging.getLogger(__name__)

_EXAMPLES = """examples:
  train_net.py --config-file configs/world/minvis_lite0.yaml
  train_net.py --config-file configs/world/minvis_lite0.yaml --resume
  train_net.py --config-file configs/world/minvis_lite0.yaml --eval-only MODEL.WEIGHTS weights/world_minvis_lite0.safetensors
  train_net.py --config-file configs/dvis/ytvis19/minvis_r50.yaml --num-gpus 8
  torchrun --nproc-per-node 2 tools/train_net.py --config-file FILE MODEL.DEVICE cpu
own data, no code (annotations in the YouTube-VIS format, a colon, the folder of frames):
  train_net.py --config-file FILE DATASETS.TRAIN '("my/train.json:my/frames",)' MODEL.SEM_SEG_HEAD.NUM_CLASSES 5
"""


def build_parser() -> argparse.ArgumentParser:
    """The arguments."""
    parser = argparse.ArgumentParser(
        prog="train_net.py",
        description="Train a model, continue a run, or evaluate weights.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config-file", required=True, metavar="FILE", help="YAML file, ours or an official one")
    parser.add_argument("--resume", action="store_true", help="continue from the last checkpoint in OUTPUT_DIR")
    parser.add_argument("--eval-only", action="store_true", help="evaluate MODEL.WEIGHTS on DATASETS.TEST")
    parser.add_argument("--num-gpus", type=int, default=1, metavar="N", help="processes on this machine, a GPU each (default 1)")
    parser.add_argument("--dist-url", default="tcp://127.0.0.1:29517", metavar="URL", help="where processes of --num-gpus meet")
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="configuration values")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns: 0 done, 1 wrong input (one line on stderr). Wrong usage exits with 2.
    """
    arguments = build_parser().parse_args(argv)
    try:
        if arguments.num_gpus > 1 and "RANK" not in os.environ:
            _spawn(arguments)
        else:
            _run(arguments)
    except DenseError as error:
        if arguments.debug:
            raise
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; continue with --resume\n")
        return 130
    return 0


def _spawn(arguments: argparse.Namespace) -> None:
    import torch

    available = torch.cuda.device_count()
    if available and arguments.num_gpus > available:
        raise ConfigError(f"--num-gpus {arguments.num_gpus}: {available} GPUs present.")
    torch.multiprocessing.spawn(_worker, (arguments,), nprocs=arguments.num_gpus)


def _worker(rank: int, arguments: argparse.Namespace) -> None:
    os.environ["LOCAL_RANK"] = str(rank)
    try:
        _run(arguments, rank)
    except DenseError as error:
        if arguments.debug:
            raise
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        raise SystemExit(1) from None


def _run(arguments: argparse.Namespace, rank: int | None = None) -> None:
    from dense.config import load_config
    from dense.engine.launch import join, leave

    cfg = load_config(arguments.config_file, arguments.opts)
    process = join(rank, arguments.num_gpus if rank is not None else None, "env://" if rank is None else arguments.dist_url)
    try:
        _prepare(cfg, process)
        if arguments.eval_only:
            _evaluate_only(cfg, process)
        else:
            _train(cfg, process, arguments.resume)
    finally:
        leave()


def _prepare(cfg: "CfgNode", process: "Process") -> None:
    """Log to the console and to OUTPUT_DIR/log.txt (main process), keep the configuration beside the results."""
    import torch

    folder = Path(cfg.OUTPUT_DIR)
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout)]
    if process.is_main:
        from dense.io import atomic_write

        with atomic_write(folder / "config.yaml") as stream:
            stream.write(cfg.dump())
        handlers.append(logging.FileHandler(folder / "log.txt", encoding="utf-8"))
    level = logging.INFO if process.is_main else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", handlers=handlers, force=True)
    torch.manual_seed(max(cfg.SEED, 0))  # initial weights, the same in every process


def _train(cfg: "CfgNode", process: "Process", resume: bool) -> None:
    from dense.data.loaders.config import train_loader_from_config
    from dense.engine.progress import ConsoleWriter, JSONWriter, TensorBoardWriter
    from dense.engine.scoring import evaluate_model
    from dense.engine.state import Checkpoints
    from dense.engine.trainer import Trainer
    from dense.modeling import build_model

    folder = Path(cfg.OUTPUT_DIR)
    writers = []
    if process.is_main:
        writers = [ConsoleWriter(cfg.SOLVER.MAX_ITER), JSONWriter(folder / "metrics.json"), TensorBoardWriter(folder)]
    checkpoints = Checkpoints(folder)
    if not resume and checkpoints.last() is not None:
        raise ConfigError(f"OUTPUT_DIR {folder} holds a run already. Continue it with --resume, or give another OUTPUT_DIR.")
    trainer = Trainer(cfg, build_model(cfg), process, checkpoints, writers)
    if resume and not trainer.resume():
        logger.info("nothing to continue in %s; starting at step 0", folder)
    loader = train_loader_from_config(cfg, trainer.step, process.rank, process.world_size)
    try:
        trainer.train(loader, lambda model, step: evaluate_model(cfg, model, process))
    finally:
        loader.close()
        for writer in writers:
            writer.close()
    if process.is_main:
        trainer.save_weights(folder / "model_final.safetensors")


def _evaluate_only(cfg: "CfgNode", process: "Process") -> None:
    from dense.engine.scoring import evaluate_model
    from dense.modeling import build_model

    if not cfg.MODEL.WEIGHTS:
        raise ConfigError("--eval-only needs MODEL.WEIGHTS FILE.")
    evaluate_model(cfg, build_model(cfg).eval(), process)
