"""Command line of ``tools/evaluate.py``: score a result file against ground truth, no model needed."""

import argparse
import importlib.util
import math
import sys
from collections.abc import Sequence
from itertools import islice

from dense.command_line import new_parser, run_command
from dense.data.formats.youtube_vis import AnnotationsMissingError
from dense.evaluation.error_command import add_error_arguments, check_error_arguments
from dense.evaluation.tasks import TASKS, Scores
from dense.io import write_json

__all__ = ["main"]

_EXAMPLES = """examples:
  python tools/evaluate.py --gt datasets/ytvis_2019/valid.json --predictions output/inference/results.json
  python tools/evaluate.py --gt valid.json --predictions results.json --json scores.json
  python tools/evaluate.py --gt valid.json --predictions results.json --errors --report errors.html --frames valid/JPEGImages
  python tools/evaluate.py --task instances --gt instances_val2017.json --predictions results.json --overlap bbox
  python tools/evaluate.py --task lvis-fixed --gt lvis_v1_val.json --predictions results.json
  python tools/evaluate.py --task open-vocabulary --novel coco_48_17 --gt instances_val2017.json --predictions results.json
  python tools/evaluate.py --task panoptic --gt panoptic_val2017.json --predictions panoptic.json
  python tools/evaluate.py --task semantic --gt labels/valid --predictions output/semantic --num-classes 19
  python tools/evaluate.py --task video-panoptic --gt VIPSeg/panoptic_gt_VIPSeg_val.json --predictions output/pred.json
  python tools/evaluate.py --task video-semantic --gt VSPW/data --split VSPW/val.txt --predictions output/maps --num-classes 124
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
    check_error_arguments(arguments)
    task = TASKS[arguments.task]
    try:
        scores = task.score(arguments)
    except AnnotationsMissingError as error:
        sys.stdout.write(f"Evaluation skipped: {error}\n")
        return
    if arguments.json is not None:
        write_json(arguments.json, scores.figures, indent=1)
    _print_tables(scores, task.columns)


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "evaluate.py",
        "Score results against ground truth: average precision, panoptic quality, mean IoU, in images and videos.",
        _EXAMPLES,
    )
    parser.add_argument("--task", choices=TASKS, default="video-instances", help="default %(default)s")
    parser.add_argument("--gt", required=True, metavar="GT", help="annotation file; semantic tasks: folder of label maps")
    parser.add_argument(
        "--predictions", required=True, metavar="RESULTS", help="result file; semantic tasks: folder of label maps"
    )
    beside = "default: its name without .json; video-panoptic: the folder %s beside it"
    parser.add_argument("--gt-dir", metavar="DIR", help=f"panoptic tasks: PNG files of GT ({beside % 'panomasksRGB'})")
    parser.add_argument(
        "--predictions-dir", metavar="DIR", help=f"panoptic tasks: PNG files of RESULTS ({beside % 'pan_pred'})"
    )
    parser.add_argument("--overlap", choices=("segm", "bbox"), default="segm", help="instances: masks or boxes (default segm)")
    parser.add_argument(
        "--novel", metavar="NAMES", help="open-vocabulary: coco_48_17, world_words, or a file with the novel names"
    )
    parser.add_argument("--num-classes", type=int, metavar="K", help="semantic tasks: labels are 0 to K-1")
    parser.add_argument("--ignore-label", type=int, default=255, metavar="V", help="semantic: unlabelled (default 255)")
    parser.add_argument(
        "--windows", type=int, nargs="+", default=[1, 2, 4, 6], metavar="k", help="video-panoptic: frames (default 1 2 4 6)"
    )
    parser.add_argument("--split", metavar="FILE", help="video-semantic: names of the videos, one per line (default: all)")
    parser.add_argument("--json", metavar="OUT.json", help="also write the figures here, also by video (undefined: null)")
    add_error_arguments(parser)
    return parser


def _print_tables(scores: Scores, columns: int) -> None:
    overall = iter([item for item in scores.figures.items() if not isinstance(item[1], dict)])
    title = scores.title
    while row := dict(islice(overall, columns)):
        _print_table(title, list(row), [[_shown(value) for value in row.values()]])
        title = ""
    per_category = scores.figures["per_category"]
    parts = next((list(value) for value in per_category.values() if isinstance(value, dict)), None)
    rows = [[name, *map(_shown, value.values() if parts else [value])] for name, value in per_category.items()]
    _print_table("", ["category", *(parts or [next(iter(scores.figures))])], rows)
    for table in scores.tables:
        _print_table(*table)


def _print_table(title: str, names: list[str], rows: list[list[str]]) -> None:
    """A table with rich where it is installed; else plain columns, for result files need no more than the core dependencies."""
    if title:
        sys.stdout.write(f"{title}\n")  # not the table's own, which would be broken to the width of the table
    left = names[0] in ("category", "error")
    if importlib.util.find_spec("rich") is None:
        widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
        lines = [
            "  ".join(c.ljust(w) if left and not i else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True)))
            for line in (names, *rows)
        ]
        sys.stdout.write("\n".join([*lines, ""]) + "\n")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for i, name in enumerate(names):
        table.add_column(name, justify="left" if left and not i else "right")
    for row in rows:
        table.add_row(*map(Text, row))  # as it is, brackets included
    Console().print(table)


def _shown(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
