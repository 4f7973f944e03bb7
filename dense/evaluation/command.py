"""Command line of ``tools/evaluate.py``: score a result file against ground truth, no model needed."""

import argparse
import math
import sys
from collections.abc import Sequence
from typing import Any

from dense.data.formats.youtube_vis import AnnotationsMissingError
from dense.errors import DenseError
from dense.evaluation.video_instances import load_video_inputs, precision_tables, summarise
from dense.io import write_json

__all__ = ["main"]

_EXAMPLES = """examples:
  python tools/evaluate.py --gt datasets/ytvis_2019/valid.json --predictions output/inference/results.json
  python tools/evaluate.py --gt valid.json --predictions results.json --json scores.json
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse ``argv`` (default: the process's arguments), print the table of average precisions.

    Returns: exit code: 0 done (also if the ground truth has no annotations: nothing to score), 1 wrong input, 2 wrong usage.
    """
    parser = _parser()
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as stop:  # argparse has said what is wrong
        return int(stop.code or 0)
    try:
        _evaluate(arguments.gt, arguments.predictions, arguments.json)
    except AnnotationsMissingError as error:
        _console().print(f"Evaluation skipped: {error}", markup=False, highlight=False, soft_wrap=True)
    except DenseError as error:
        if arguments.debug:
            raise
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="evaluate.py",
        description="Score tracks of video instance segmentation (YouTube-VIS average precision).",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--gt", required=True, metavar="GT.json", help="annotation file, YouTube-VIS or OVIS form")
    parser.add_argument("--predictions", required=True, metavar="RESULTS.json", help="result file")
    parser.add_argument("--json", metavar="OUT.json", help="also write the figures here (undefined ones as null)")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _evaluate(ground_truth: str, predictions: str, output: str | None) -> None:
    dataset, records = load_video_inputs(ground_truth, predictions)
    figures = summarise(precision_tables(dataset, records), dataset)
    if output is not None:
        write_json(output, figures, indent=1)
    objects = sum(len(video.tracks) for video in dataset.videos)
    _print_tables(figures, f"{len(dataset.videos)} videos, {objects} objects, {len(records)} predictions")


def _print_tables(figures: dict[str, Any], title: str) -> None:
    from rich.table import Table

    console = _console()
    overall = {name: value for name, value in figures.items() if name != "per_category"}
    for prefix in ("AP", "AR"):
        table = Table(title=title if prefix == "AP" else None, title_justify="left")
        row = {name: value for name, value in overall.items() if name.startswith(prefix)}
        for name in row:
            table.add_column(name, justify="right")
        table.add_row(*map(_shown, row.values()))
        console.print(table)
    table = Table("category")
    table.add_column("AP", justify="right")
    for name, value in figures["per_category"].items():
        table.add_row(_plain(name), _shown(value))
    console.print(table)


def _console() -> Any:  # noqa: ANN401  rich is imported only where it is used
    from rich.console import Console

    return Console()


def _plain(text: str) -> Any:  # noqa: ANN401  as above
    """Text that rich shows as it is, brackets included."""
    from rich.text import Text

    return Text(text)


def _shown(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
