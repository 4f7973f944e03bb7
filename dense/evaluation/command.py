"""Command line of ``tools/evaluate.py``: score a result file against ground truth, no model needed."""

import argparse
import math
from collections.abc import Sequence
from itertools import islice
from typing import Any

from dense.command_line import new_parser, run_command
from dense.data.formats.youtube_vis import AnnotationsMissingError
from dense.evaluation.tasks import TASKS, Scores
from dense.io import write_json

__all__ = ["main"]

_EXAMPLES = """examples:
  python tools/evaluate.py --gt datasets/ytvis_2019/valid.json --predictions output/inference/results.json
  python tools/evaluate.py --gt valid.json --predictions results.json --json scores.json
  python tools/evaluate.py --task instances --gt instances_val2017.json --predictions results.json --overlap bbox
  python tools/evaluate.py --task panoptic --gt panoptic_val2017.json --predictions panoptic.json
  python tools/evaluate.py --task semantic --gt labels/valid --predictions output/semantic --num-classes 19
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse ``argv`` (default: the process's arguments), print the tables of figures.

    Returns: exit code: 0 done (also if the ground truth has no annotations: nothing to score), 1 wrong input, 2 wrong usage.
    """
    parser = _parser()
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as stop:  # argparse has said what is wrong
        return int(stop.code or 0)
    return run_command(lambda: _score(arguments), debug=arguments.debug)


def _score(arguments: argparse.Namespace) -> None:
    task = TASKS[arguments.task]
    try:
        scores = task.score(arguments)
    except AnnotationsMissingError as error:
        _console().print(f"Evaluation skipped: {error}", markup=False, highlight=False, soft_wrap=True)
        return
    if arguments.json is not None:
        write_json(arguments.json, scores.figures, indent=1)
    _print_tables(scores, task.columns)


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "evaluate.py", "Score results against ground truth: average precision, panoptic quality, mean IoU.", _EXAMPLES
    )
    parser.add_argument("--task", choices=TASKS, default="video-instances", help="default %(default)s")
    parser.add_argument("--gt", required=True, metavar="GT", help="annotation file; semantic: folder of label maps")
    parser.add_argument(
        "--predictions", required=True, metavar="RESULTS", help="result file; for semantic: folder of label maps"
    )
    parser.add_argument("--gt-dir", metavar="DIR", help="panoptic: PNG files of GT (default: its name without .json)")
    parser.add_argument("--predictions-dir", metavar="DIR", help="panoptic: PNG files of RESULTS (default likewise)")
    parser.add_argument("--overlap", choices=("segm", "bbox"), default="segm", help="instances: masks or boxes (default segm)")
    parser.add_argument("--num-classes", type=int, metavar="K", help="semantic: labels are 0 to K-1")
    parser.add_argument("--ignore-label", type=int, default=255, metavar="V", help="semantic: unlabelled (default 255)")
    parser.add_argument("--json", metavar="OUT.json", help="also write the figures here (undefined ones as null)")
    return parser


def _print_tables(scores: Scores, columns: int) -> None:
    from rich.table import Table

    console = _console()
    overall = iter([item for item in scores.figures.items() if item[0] != "per_category"])
    title: str | None = scores.title
    while row := dict(islice(overall, columns)):
        table = Table(title=title, title_justify="left")
        for name in row:
            table.add_column(name, justify="right")
        table.add_row(*map(_shown, row.values()))
        console.print(table)
        title = None
    per_category = scores.figures["per_category"]
    parts = next((list(value) for value in per_category.values() if isinstance(value, dict)), None)
    table = Table("category")
    for name in parts or [next(iter(scores.figures))]:
        table.add_column(name, justify="right")
    for name, value in per_category.items():
        table.add_row(_plain(name), *map(_shown, value.values() if parts else [value]))
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
