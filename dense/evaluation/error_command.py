"""The part of ``tools/evaluate.py`` on errors: its arguments, and the table and page that it adds to the scores."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dense.data.formats.video_results import ResultRecord
from dense.data.formats.youtube_vis import VideoDataset
from dense.errors import ConfigError
from dense.evaluation.tasks import Scores

__all__ = ["add_error_arguments", "check_error_arguments", "with_errors"]

_DEFAULT_IOU = 0.5


def add_error_arguments(parser: argparse.ArgumentParser) -> None:
    """``--errors [IOU]``, ``--report`` and ``--frames``."""
    parser.add_argument(
        "--errors",
        nargs="?",
        type=float,
        const=_DEFAULT_IOU,
        metavar="IOU",
        help=f"video-instances: lost AP by kind of error, at this tube IoU (default {_DEFAULT_IOU:g})",
    )
    parser.add_argument("--report", metavar="OUT.html", help="also write a page with the errors and the frames that show them")
    parser.add_argument("--frames", metavar="DIR", help="frames for --report (default: masks on plain ground)")


def check_error_arguments(arguments: argparse.Namespace) -> None:
    """Raises: ConfigError if errors are asked for where there is no such analysis, or frames without a page."""
    if arguments.task != "video-instances" and (arguments.errors is not None or arguments.report):
        raise ConfigError(
            f"--task {arguments.task}: has no analysis of errors, expected video-instances. Leave out --errors and --report."
        )
    if arguments.frames and not arguments.report:
        raise ConfigError("--frames: is only used by --report OUT.html. Add it, or leave out --frames.")


def with_errors(
    scores: Scores, dataset: VideoDataset, records: Sequence[ResultRecord], arguments: argparse.Namespace
) -> Scores:
    """``scores`` with the analysis that ``arguments`` ask for: its table, ``figures["errors"]``, and the page written.

    Raises: ConfigError if the threshold is out of range; DataError if a frame is missing or the page cannot be written;
        DependencyError without jinja2.
    """
    if arguments.errors is None and not arguments.report:
        return scores
    from dense.evaluation.video_errors import analyse_video_errors

    iou = _DEFAULT_IOU if arguments.errors is None else arguments.errors
    report = analyse_video_errors(dataset, records, iou=iou)
    if arguments.report:
        from dense.evaluation.error_page import error_page
        from dense.visualization.report import write_report

        facts = {"Ground truth": str(arguments.gt), "Predictions": str(arguments.predictions)}
        frames = Path(arguments.frames) if arguments.frames else None
        page = error_page(report, dataset, records, scores.figures, frames=frames, facts=facts)
        write_report(page, arguments.report)
    rows = [[kind, f"{figures.lost_ap:.3f}", str(figures.count)] for kind, figures in report.kinds.items()]
    table = f"{report.name} lost by kind of error", ["error", f"lost {report.name}", "errors"], rows
    return replace(scores, figures={**scores.figures, "errors": report.plain()}, tables=(table,))
