"""What studies on the procedural world share: runs of the tools on given data, and rows of means over seeds."""

import argparse
import contextlib
import datetime
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.real_videos import table
from dense.errors import DenseError
from dense.io import write_json

__all__ = ["ROOT", "add_study_arguments", "datasets_in", "link_world", "mean_and_spread", "report", "run_tool", "train"]

ROOT = Path(__file__).resolve().parent.parent
"""Folder of the repository."""


@contextlib.contextmanager
def datasets_in(folder: Path) -> Iterator[None]:
    """Data sets are looked for in this folder."""
    before = os.environ.get("DETECTRON2_DATASETS")
    os.environ["DETECTRON2_DATASETS"] = str(folder)
    try:
        yield
    finally:
        os.environ.pop("DETECTRON2_DATASETS") if before is None else os.environ.update(DETECTRON2_DATASETS=before)


def link_world(world: Path, folder: Path, name: str) -> Path:
    """Make ``folder/name`` point to a world, for ``datasets_in(folder)``; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / name).exists():
        (folder / name).symlink_to(world.resolve())
    return folder


def run_tool(tool: str, arguments: Sequence[str], datasets: Path) -> None:
    """Run ``tools/TOOL`` with data sets from a folder. Raises: DenseError if it fails; it has said why."""
    with datasets_in(datasets):
        if subprocess.run([sys.executable, str(ROOT / "tools" / tool), *arguments], check=False).returncode:
            raise DenseError(f"{tool}: failed; the lines above say why.")


def mean_and_spread(runs: Sequence[Mapping[str, float]], figures: Sequence[str]) -> dict[str, Any]:
    """Of each figure the mean and, from two runs on, the sample standard deviation: ``12.3 ± 0.4``."""
    row = {}
    for figure in figures:
        values = [run[figure] for run in runs]
        spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
        row[figure] = f"{statistics.mean(values):.1f}{spread}"
    return row


def train(config: Path, output: Path, keys: Sequence[object], datasets: Path) -> Path:
    """Train below ``output`` unless that is done; a run that was interrupted goes on.

    Returns: the weights. Raises: DenseError if it fails.
    """
    final = output / "model_final.safetensors"
    if not final.exists():
        sys.stdout.write(f"== {output.name}\n")
        sys.stdout.flush()
        settings = ["OUTPUT_DIR", str(output), *map(str, keys)]
        run_tool("train_net.py", ["--resume", "--config-file", str(config), *settings], datasets)
    return final


def add_study_arguments(parser: argparse.ArgumentParser, output: str) -> None:
    """Options that every study has: ``--output`` (with this default), ``--seeds``, ``--steps``, ``--json``."""
    parser.add_argument("--output", type=Path, default=Path(output), metavar="DIR", help="default %(default)s")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], metavar="N", help="default 1 2 3")
    parser.add_argument("--steps", type=int, metavar="N", help="of every pretraining, to try it (default: the configuration's)")
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file too")


def report(header: Sequence[str], rows: Sequence[dict[str, Any]], file: str | None) -> None:
    """Print a study's table under what it shows and the date, and write both to ``file`` if there is one."""
    lines, head = table(rows), [*header, f"measured {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}"]
    sys.stdout.write("\n".join([*head, "", *lines]) + "\n")
    if file:
        write_json(file, {"header": head, "table": lines, "rows": list(rows)}, indent=1)
