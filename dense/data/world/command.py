"""Command line of the world: write a data set of procedural videos, and previews of it."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dense.data.world.parameters import VALID_OFFSET
from dense.data.world.writer import PREVIEWS, Progress, WorldReport, make_video_world
from dense.errors import DataError, DenseError

__all__ = ["build_parser", "main"]

_EXAMPLES = """examples:
  make_world.py --output datasets/world
  make_world.py --output datasets/world --train-videos 200 --valid-videos 20 --preview 4
  make_world.py --output datasets/tiny --train-videos 8 --valid-videos 2 --frames 4 --frame-step 6 --height 96 --width 160
"""


def build_parser() -> argparse.ArgumentParser:
    """The arguments; names and defaults follow ``make_video_world``."""
    parser = argparse.ArgumentParser(
        prog="make_world.py",
        description="Write videos of the procedural world in the YouTube-VIS layout.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="folder of the data set; made if missing")
    parser.add_argument("--seed", type=int, default=0, help="seed of the world (default %(default)s)")
    parser.add_argument("--train-videos", type=int, default=60, metavar="N", help="default %(default)s")
    parser.add_argument("--valid-videos", type=int, default=12, metavar="N", help="default %(default)s")
    parser.add_argument("--frames", type=int, default=24, metavar="N", help="frames per video (default %(default)s)")
    parser.add_argument("--frame-step", type=int, default=1, metavar="K", help="moments between frames (default %(default)s)")
    parser.add_argument("--height", type=int, default=192, help="pixels (default %(default)s)")
    parser.add_argument("--width", type=int, default=320, help="pixels (default %(default)s)")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes (default %(default)s)")
    parser.add_argument(
        "--preview",
        type=int,
        default=0,
        metavar="N",
        help="also write preview.mp4 and preview.png with the ground truth of N videos",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a world with other parameters")
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line; ``argv`` without the program's name.

    Returns: 0 done, 1 wrong input (one line on stderr). Wrong usage exits with 2.
    """
    arguments = build_parser().parse_args(argv)
    try:
        report = _make(arguments)
        preview = _previews(arguments)
    except DenseError as error:
        if arguments.debug:
            raise
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    sys.stdout.write(_summary(report) + "".join(f"preview: {path}\n" for path in preview))
    return 0


def _make(arguments: argparse.Namespace) -> WorldReport:
    if arguments.preview < 0:
        raise DataError(f"--preview is {arguments.preview}, expected 0 or more.")
    with _progress_bar() as progress:
        return make_video_world(
            arguments.output,
            seed=arguments.seed,
            train_videos=arguments.train_videos,
            valid_videos=arguments.valid_videos,
            frames=arguments.frames,
            size=(arguments.height, arguments.width),
            workers=arguments.workers,
            progress=progress,
            frame_step=arguments.frame_step,
            overwrite=arguments.overwrite,
        )


def _previews(arguments: argparse.Namespace) -> list[Path]:
    """Draw the first validation videos, then training videos if there are too few."""
    indices = [*range(VALID_OFFSET, VALID_OFFSET + arguments.valid_videos), *range(arguments.train_videos)][: arguments.preview]
    if not indices:
        return []
    from dense.data.world.preview import write_contact_sheet, write_preview
    from dense.data.world.render import render_video

    size = (arguments.height, arguments.width)
    videos = [render_video(arguments.seed, i, arguments.frames, size, arguments.frame_step) for i in indices]
    paths = [Path(arguments.output) / name for name in PREVIEWS]
    write_preview(paths[0], videos)
    write_contact_sheet(paths[1], videos)
    return paths


@contextmanager
def _progress_bar() -> Iterator[Progress | None]:
    """A bar on stderr when that is a terminal, else nothing."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("rendering"), BarColumn(), MofNCompleteColumn(), TextColumn("videos"), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("rendering")
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _summary(report: WorldReport) -> str:
    what = f"{report.train_videos} + {report.valid_videos} videos of {report.frames} frames, {report.instances} instances"
    how = "kept, it was complete" if report.kept else f"{report.seconds:.1f} s"
    return f"{report.output}: {what} ({how})\n"
