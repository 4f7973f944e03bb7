"""Kill a training run at random moments, continue it each time, and compare it with a run that was never stopped.

    python tools/try_resume.py               5 kills, about a minute
    python tools/try_resume.py --times 100   what `make test-long` runs

A tiny model on a tiny world; each run is killed (SIGKILL) and continued until it ends, then the next begins, until the number
of kills is reached. Compared bit for bit: losses of every step, figures of the test set, final weights. Each process is forked
from one that has imported everything, so that the time goes into training, not into imports.

Exit code: 0 all equal, 1 a difference (the last line says where; the folder of the run is kept), 2 wrong usage.
"""

import argparse
import importlib
import json
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a checkout that is not installed

__all__ = ["Trial", "main"]

STEPS = 12
_CLOCK = {"time", "data_time"}


class DifferenceError(Exception):
    """A continued run is not equal to the uninterrupted one."""


def start(words: list[str], log: Path) -> int:
    """Fork a process that runs the training command; return its id."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(output, 1)
        os.dup2(output, 2)
        from dense.engine.command import main as train

        code = train(words)
    finally:
        os._exit(code)  # nothing of the parent's is to be cleaned up here


def wait(child: int, limit_s: float | None) -> int | None:
    """Return the exit code, or None if the process was still running after ``limit_s`` and has been killed."""
    end = None if limit_s is None else time.monotonic() + limit_s
    while True:
        found, status = os.waitpid(child, 0 if end is None else os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if end is not None and time.monotonic() >= end:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            return None if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)
        time.sleep(0.001)


def figures(folder: Path) -> dict[tuple[int, str], float]:
    """(step, name) → figure, without the clock's. Raises: DifferenceError if a step that was done twice has two values."""
    found: dict[tuple[int, str], float] = {}
    for line in (folder / "metrics.json").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        for name, value in row.items():
            key = (row["iteration"], name)
            if name not in _CLOCK and found.setdefault(key, value) != value:
                raise DifferenceError(f"{folder}: step {key[0]}: {name} is {value!r} after a kill, {found[key]!r} before it.")
    return found


def compare(folder: Path, reference: Path) -> None:
    """Raises: DifferenceError naming what differs, or what a killed process has left lying."""
    from safetensors.torch import load_file

    ours, theirs = figures(folder), figures(reference)
    different = sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
    if different:
        key = different[0]
        raise DifferenceError(
            f"{folder}: {key}: {ours.get(key)!r}, never stopped: {theirs.get(key)!r}; {len(different)} differ."
        )
    first, second = (load_file(path / "model_final.safetensors") for path in (folder, reference))
    unequal = sorted(k for k in first.keys() | second.keys() if not (k in first and k in second and first[k].equal(second[k])))
    if unequal:
        raise DifferenceError(f"{folder}: final weights: {len(unequal)} of {len(second)} differ, {unequal[0]} is the first.")
    for name in ("last_checkpoint", "inference/results.json"):
        if (folder / name).read_bytes() != (reference / name).read_bytes():
            raise DifferenceError(f"{folder / name}: differs from that of the run that was never stopped.")
    left = [path.name for path in folder.rglob("*.tmp")]
    if left:
        raise DifferenceError(f"{folder}: temporary files are left: {', '.join(left)}.")


class Trial:
    """The folder of the trial, its world, and the run that is never stopped."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.random = folder, random.Random(seed)
        self.kills = self.finished = self.resumed = self.half_written = 0
        self.reference = folder / "reference"

    def prepare(self, make_world: Callable[..., Any]) -> None:
        """Make the world and the reference."""
        make_world(self.folder / "world", train_videos=4, valid_videos=1, frames=3, size=(64, 96), workers=1, frame_step=6)
        os.environ["DETECTRON2_DATASETS"] = str(self.folder)
        began = time.monotonic()
        if wait(start(self.words(self.reference, STEPS), self.folder / "reference.log"), None):
            raise DifferenceError(f"the uninterrupted run fails: {_last_line(self.folder / 'reference.log')}")
        self.duration = time.monotonic() - began

    def words(self, folder: Path, period: int) -> list[str]:
        """Words of the training command; a run that is not there yet starts at step 0 with --resume, too."""
        pairs = {"OUTPUT_DIR": folder, "SOLVER.CHECKPOINT_PERIOD": period, "SOLVER.MAX_ITER": STEPS, "SOLVER.LOG_PERIOD": 1}
        pairs |= {"TEST.EVAL_PERIOD": STEPS // 2}
        config = ROOT / "tests" / "data" / "configs" / "tiny.yaml"
        return ["--config-file", str(config), "--resume", *(str(word) for pair in pairs.items() for word in pair)]

    def run(self, times: int) -> None:
        """One run, killed until it ends by itself or the kills are used up. Raises: DifferenceError."""
        folder = self.folder / f"run{self.finished}"
        words, log = self.words(folder, self.random.choice((1, 2, 3))), folder.with_suffix(".log")
        while True:
            # Any moment of the whole run is as likely as any other for the first process; the later ones have less to do.
            limit = self.random.uniform(0.0, self.duration) if self.kills < times else None
            code = wait(start(words, log), limit)
            if code is None:
                self.kills += 1
                self.half_written += any(folder.rglob("*.tmp"))  # each start removes what the one before has left
            elif code:
                raise DifferenceError(f"{folder}: exit code {code} after {self.kills} kills: {_last_line(log)}")
            else:
                break
        compare(folder, self.reference)
        self.resumed += log.read_text(encoding="utf-8").count("continued from")
        self.finished += 1
        shutil.rmtree(folder)


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "(nothing said)"


def main(arguments: list[str] | None = None) -> int:
    """Run the trial."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5, metavar="N", help="kills (default %(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="of the moments (default: another one each time)")
    options = parser.parse_args(arguments)
    if options.times < 1:
        parser.error(f"--times {options.times}: expected 1 or more")
    import_everything()
    from dense.data.world.writer import make_video_world

    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    folder = Path(tempfile.mkdtemp(prefix="dense-resume-")).resolve()
    trial, began = Trial(folder, seed), time.monotonic()
    try:
        trial.prepare(make_video_world)
        while trial.kills < options.times:
            trial.run(options.times)
    except DifferenceError as error:
        print(f"try_resume: seed {seed}: {error}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    print(
        f"{trial.kills} kills (seed {seed}), {trial.half_written} while a file was written, {trial.resumed} times continued "
        f"from a checkpoint, {trial.finished} runs ended, all equal to the one never stopped "
        f"({trial.duration:.1f} s each); {time.monotonic() - began:.0f} s in all"
    )
    return 0


def import_everything() -> None:
    """Import what the training command will, once; threads must not be started, for a fork would lose them."""
    warnings.filterwarnings("ignore", category=FutureWarning)  # of imported packages
    import torch

    torch.set_num_threads(1)
    for name in ("data.loaders.config", "engine.command", "engine.scoring", "engine.trainer", "modeling.builder"):
        importlib.import_module(f"dense.{name}")
    importlib.import_module("torch.utils.tensorboard")
    from dense.config import load_config

    load_config(ROOT / "tests" / "data" / "configs" / "tiny.yaml")
    logging.getLogger().handlers.clear()


if __name__ == "__main__":
    sys.exit(main())
