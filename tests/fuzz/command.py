"""Command line: the long form, or one input again with its traceback."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .runner import SECONDS_PER_INPUT, Tally, Worker, run_readers
from .worker import serve

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run what ``argv`` asks for. Returns: 0 if every input kept the rule, else 1."""
    parser = argparse.ArgumentParser(prog="python tests/fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1000, help="per reader (default %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="first seed (default %(default)s)")
    parser.add_argument("--reader", action="append", default=[], help="only this one; may be given several times")
    parser.add_argument("--jobs", type=int, default=2, help="readers at a time (default %(default)s)")
    parser.add_argument("--seed", type=int, help="read the one input of this seed and say what happened")
    parser.add_argument("--limit", type=float, default=SECONDS_PER_INPUT, help="seconds per input (default %(default)s)")
    parser.add_argument(
        "--keep", type=Path, default=Path(tempfile.gettempdir()) / "dense-fuzz", help="folder for inputs that failed"
    )
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.worker:
        serve()
        return 0
    from .readers import READERS

    unknown = [name for name in arguments.reader if name not in READERS]
    if unknown:
        parser.error(f"unknown reader {unknown[0]!r}, expected one of {', '.join(READERS)}")
    names = arguments.reader or list(READERS)
    arguments.keep.mkdir(parents=True, exist_ok=True)
    if arguments.seed is not None:
        with Worker(arguments.keep, arguments.limit) as worker:
            answers = {name: worker.ask(name, arguments.seed) for name in names}
        for name, answer in answers.items():
            sys.stdout.write(f"{name}, seed {arguments.seed}: {answer['kind']}\n{answer['detail']}\n")
        return int(any(answer["kind"] == "failed" for answer in answers.values()))
    seeds = range(arguments.first, arguments.first + arguments.inputs)
    tallies = run_readers(names, seeds, arguments.keep, arguments.jobs, arguments.limit)
    _print(tallies)
    return int(any(tally.failures for tally in tallies))


def _print(tallies: Sequence[Tally]) -> None:
    for failure in (failure for tally in tallies for failure in tally.failures):
        sys.stdout.write(f"{failure}\n\n")
    heads = ("reader", "inputs", "accepted", "refused", "failed", "seconds", "slowest")
    sys.stdout.write("{:<20}{:>8}{:>10}{:>9}{:>8}{:>9}{:>9}\n".format(*heads))
    for t in tallies:
        sys.stdout.write(
            f"{t.reader:<20}{t.inputs:>8}{t.accepted:>10}{t.refused:>9}{len(t.failures):>8}{t.seconds:>9.1f}{t.slowest:>9.2f}\n"
        )
    totals = (sum(t.inputs for t in tallies), sum(t.accepted for t in tallies), sum(t.refused for t in tallies))
    failed = sum(len(t.failures) for t in tallies)
    sys.stdout.write(f"{'all':<20}{totals[0]:>8}{totals[1]:>10}{totals[2]:>9}{failed:>8}\n")
