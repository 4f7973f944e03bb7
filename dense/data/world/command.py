"""Command line of the world: write a data set of procedural videos or pictures, and previews of it."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dense.command_line import new_parser, run_command
from dense.data.world.image_writer import (
    IMAGE_PREVIEW,
    ImageWorldParameters,
    ImageWorldReport,
    make_image_world,
    render_image,
)
from dense.data.world.jobs import Progress
from dense.data.world.map_writer import make_map_world
from dense.data.world.parameters import VALID_OFFSET, WorldParameters
from dense.data.world.words_writer import make_word_world, word_parameters
from dense.data.world.writer import PREVIEWS, WorldReport, write_video_world
from dense.errors import DataError

__all__ = ["build_parser", "main"]

_EXAMPLES = """examples:
  make_world.py --output datasets/world
  make_world.py --output datasets/world --train-videos 200 --valid-videos 20 --preview 4
  make_world.py --kind vipseg --output datasets/world_vipseg
  make_world.py --kind images --output datasets/world_images --preview 4
  make_world.py --kind words --output datasets/world_words --train-images 4000 --valid-images 200 --preview 6
  make_world.py --output datasets/tiny --train-videos 8 --valid-videos 2 --frames 4 --frame-step 6 --height 96 --width 160
"""


def build_parser() -> argparse.ArgumentParser:
    """The arguments; names and defaults follow ``make_video_world`` and ``make_image_world``."""
    parser = new_parser(
        "make_world.py",
        "Write the procedural world: videos in the layout of YouTube-VIS, VIPSeg or VSPW, pictures in the layouts of COCO, or"
        " pictures with captions and open-vocabulary annotations.",
        _EXAMPLES,
    )
    parser.add_argument("--kind", choices=_KINDS, default="videos", help="videos = YouTube-VIS layout (default)")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder of the data set; made if missing")
    parser.add_argument("--seed", type=int, default=0, help="seed of the world (default %(default)s)")
    parser.add_argument("--train-videos", type=int, default=60, metavar="N", help="default %(default)s")
    parser.add_argument("--valid-videos", type=int, default=12, metavar="N", help="default %(default)s")
    parser.add_argument("--train-images", type=int, default=400, metavar="N", help="default %(default)s")
    parser.add_argument("--valid-images", type=int, default=60, metavar="N", help="default %(default)s")
    parser.add_argument("--frames", type=int, default=24, metavar="N", help="frames per video (default %(default)s)")
    parser.add_argument("--frame-step", type=int, default=1, metavar="K", help="moments between frames (default %(default)s)")
    parser.add_argument(
        "--crowded", type=float, default=0.0, metavar="SHARE", help="share of videos with look-alikes that cover each other"
    )
    parser.add_argument("--height", type=int, default=192, help="pixels (default %(default)s)")
    parser.add_argument("--width", type=int, default=320, help="pixels (default %(default)s)")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes (default %(default)s)")
    parser.add_argument(
        "--preview",
        type=int,
        default=0,
        metavar="N",
        help="also write preview.png (and for videos preview.mp4) with the ground truth of N videos or images",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a world with other parameters")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line; ``argv`` without the program's name.

    Returns: 0 done, 1 wrong input (one line on stderr). Wrong usage exits with 2.
    """
    arguments = build_parser().parse_args(argv)
    return run_command(lambda: _run(arguments), debug=arguments.debug)


def _run(arguments: argparse.Namespace) -> None:
    kind = _KINDS[arguments.kind]
    if arguments.preview < 0:
        raise DataError(f"--preview is {arguments.preview}, expected 0 or more.")
    report = kind.make(arguments)
    preview = kind.previews(arguments)
    sys.stdout.write(f"{report}\n" + "".join(f"preview: {path}\n" for path in preview))


def _make_videos(arguments: argparse.Namespace) -> str:
    with _progress_bar("videos") as progress:
        report = write_video_world(
            arguments.output, _video_parameters(arguments), arguments.workers, progress, overwrite=arguments.overwrite
        )
    return _videos_made(report, "instances")


def _make_maps(arguments: argparse.Namespace) -> str:
    parameters = _video_parameters(arguments)
    with _progress_bar("videos") as progress:
        report = make_map_world(
            arguments.output, arguments.kind, parameters, arguments.workers, progress, overwrite=arguments.overwrite
        )
    return _videos_made(report, "regions")


def _video_parameters(arguments: argparse.Namespace) -> WorldParameters:
    names = ("seed", "train_videos", "valid_videos", "frames", "height", "width", "frame_step", "crowded")
    return WorldParameters(**{name: getattr(arguments, name) for name in names})


def _videos_made(report: WorldReport, counted: str) -> str:
    what = f"{report.train_videos} + {report.valid_videos} videos of {report.frames} frames, {report.instances} {counted}"
    return f"{report.output}: {what} ({_how(report)})"


def _make_images(arguments: argparse.Namespace) -> str:
    make = make_word_world if arguments.kind == "words" else make_image_world
    with _progress_bar("images") as progress:
        report = make(
            train_images=arguments.train_images,
            valid_images=arguments.valid_images,
            progress=progress,
            **_shared(arguments),
        )
    what = f"{report.train_images} + {report.valid_images} images, {report.instances} instances"
    return f"{report.output}: {what} ({_how(report)})"


def _shared(arguments: argparse.Namespace) -> dict[str, Any]:
    """What every kind of world is made with."""
    size = arguments.height, arguments.width
    same = {name: getattr(arguments, name) for name in ("output", "seed", "workers", "overwrite")}
    return {**same, "size": size}


def _how(report: WorldReport | ImageWorldReport) -> str:
    return "kept, it was complete" if report.kept else f"{report.seconds:.1f} s"


def _preview_videos(arguments: argparse.Namespace) -> list[Path]:
    """Draw the first validation videos, then training videos if there are too few."""
    indices = [*range(VALID_OFFSET, VALID_OFFSET + arguments.valid_videos), *range(arguments.train_videos)][: arguments.preview]
    if not indices:
        return []
    from dense.data.world.preview import write_contact_sheet, write_preview
    from dense.data.world.render import render_video

    size = (arguments.height, arguments.width)
    videos = [render_video(arguments.seed, i, arguments.frames, size, arguments.frame_step, arguments.crowded) for i in indices]
    paths = [Path(arguments.output) / name for name in PREVIEWS]
    write_preview(paths[0], videos)
    write_contact_sheet(paths[1], videos)
    return paths


def _preview_images(arguments: argparse.Namespace) -> list[Path]:
    """Draw the first validation pictures, then training pictures if there are too few."""
    counts = {"valid": arguments.valid_images, "train": arguments.train_images}
    chosen = [(split, number) for split, count in counts.items() for number in range(count)][: arguments.preview]
    if not chosen:
        return []
    from dense.data.world.preview import write_image_sheet, write_word_sheet

    size = (arguments.height, arguments.width)
    path = Path(arguments.output) / IMAGE_PREVIEW
    if arguments.kind == "words":
        from dense.data.world.word_scenes import render_words

        words = word_parameters(arguments.seed, arguments.train_images, arguments.valid_images, size)
        write_word_sheet(path, [render_words(words, split, number) for split, number in chosen])
        return [path]
    parameters = ImageWorldParameters(arguments.seed, arguments.train_images, arguments.valid_images, *size)
    write_image_sheet(path, [render_image(parameters, split, number) for split, number in chosen])
    return [path]


@contextmanager
def _progress_bar(unit: str) -> Iterator[Progress | None]:
    """A bar on stderr when that is a terminal, else nothing."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("rendering"), BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("rendering")
        yield lambda done, total: bar.update(task, completed=done, total=total)


@dataclass(frozen=True)
class _Kind:
    """One kind of world: writes it and says what was done; draws its previews."""

    make: Callable[[argparse.Namespace], str]
    previews: Callable[[argparse.Namespace], list[Path]]


_KINDS = {
    "videos": _Kind(_make_videos, _preview_videos),
    "vipseg": _Kind(_make_maps, _preview_videos),
    "vspw": _Kind(_make_maps, _preview_videos),
    "images": _Kind(_make_images, _preview_images),
    "words": _Kind(_make_images, _preview_images),
}
