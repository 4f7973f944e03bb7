"""Command line of ``tools/cache_segmenter.py``: run the frozen segmenter over the training clips once and keep the result."""

import argparse
import logging
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dense.command_line import new_parser, run_command
from dense.errors import ConfigError

if TYPE_CHECKING:
    from detectron2.config import CfgNode

    from dense.data.clip_cache import CacheWriter
    from dense.data.loaders.clip_dataset import SizedDataset
    from dense.projects.dvis.stage import TrainingStage

__all__ = ["main"]

logger = logging.getLogger(__name__)

_EXAMPLES = """examples:
  cache_segmenter.py --config-file configs/world/online_lite0.yaml --output caches/world_online --copies 2 \\
      MODEL.WEIGHTS outputs/world/ctvis_lite0/model_final.safetensors
  train_net.py --config-file configs/world/online_lite0.yaml DATASETS.CACHE caches/world_online SOLVER.IMS_PER_BATCH 4 \\
      MODEL.WEIGHTS outputs/world/ctvis_lite0/model_final.safetensors
The cache holds, for every frame, queries and mask features in float16: 2 x (Q x C + M x H/4 x W/4) bytes, about 12 MB for
R50 at 480 x 864. An interrupted command continues. A cache that no longer fits configuration, data or weights is refused.
"""
_LOG_SECONDS = 10


def main(argv: Sequence[str] | None = None) -> int:
    """Parse ``argv`` (default: the process's arguments) and write the cache.

    Returns: 0 done, 1 wrong input (one line on stderr). Wrong usage exits with 2.
    """
    parser = new_parser("cache_segmenter.py", "Segment the training clips of tracker or refiner once.", _EXAMPLES)
    parser.add_argument("--config-file", required=True, metavar="FILE", help="of the stage to be trained from the cache")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder of the cache")
    parser.add_argument("--copies", type=int, default=1, metavar="K", help="of each clip, each augmented anew (default 1)")
    parser.add_argument(
        "--precision", choices=("float16", "float32"), default="float16", help="of queries and features (default float16)"
    )
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE", help="configuration values")
    arguments = parser.parse_intermixed_args(argv)
    again = "interrupted; the same command continues"
    return run_command(lambda: _run(arguments), debug=arguments.debug, interrupted=again)


def _run(arguments: argparse.Namespace) -> None:
    import torch

    from dense.config import load_config
    from dense.data.clip_cache import CacheKeys, CacheWriter
    from dense.data.loaders.config import cache_keys, training_sets_from_config
    from dense.modeling import build_model
    from dense.projects.dvis.stage import TrainingStage

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout, force=True)
    cfg = load_config(arguments.config_file, arguments.opts)
    if arguments.copies < 1:
        raise ConfigError(f"--copies {arguments.copies}: expected 1 or more.")
    if not cfg.MODEL.WEIGHTS:
        raise ConfigError("MODEL.WEIGHTS: empty; expected the weights of the segmenter, which stay as they are.")
    datasets = training_sets_from_config(cfg)
    torch.manual_seed(max(int(cfg.SEED), 0))  # parts that the weights lack are those of a training
    model = build_model(cfg)
    if not isinstance(model, TrainingStage):
        raise ConfigError(
            f"{arguments.config_file}: {cfg.MODEL.META_ARCHITECTURE} has no frozen segmenter;"
            " expected a configuration of a tracker or a refiner."
        )
    seed = max(int(cfg.SEED), 0)
    keys = CacheKeys(*cache_keys(cfg, datasets), weights=model.segmenter_digest(), seed=seed)
    sets = {name: len(dataset) for name, dataset in datasets.items()}
    writer = CacheWriter(Path(arguments.output), keys, sets, arguments.copies, getattr(torch, arguments.precision))
    _write(cfg, model.eval(), datasets, writer)


def _write(cfg: "CfgNode", model: "TrainingStage", datasets: Mapping[str, "SizedDataset"], writer: "CacheWriter") -> None:
    from dense.projects.dvis.segmenting import segmented_record

    total, done, last = len(writer.samples), len(writer.samples) - len(writer.left), time.monotonic()
    if done:
        logger.info("%s: %d of %d clips are there already", writer.folder, done, total)
    for record in _records(cfg, list(datasets.values()), writer.left):
        writer.add(segmented_record(model, record))
        done += 1
        if time.monotonic() - last > _LOG_SECONDS or done == total:
            last = time.monotonic()
            logger.info("%s: clip %d of %d", writer.folder, done, total)


def _records(
    cfg: "CfgNode", datasets: Sequence["SizedDataset"], samples: Sequence[tuple[int, int, int]]
) -> Iterator[dict[str, Any]]:
    """The clips in order, read ahead by DATALOADER.NUM_WORKERS processes."""
    from dense.data.loaders.build import ordered_samples

    addresses = [(source, copy, index) for copy, source, index in samples]
    return ordered_samples(datasets, addresses, cfg.DATALOADER.NUM_WORKERS)
