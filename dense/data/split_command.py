"""Command line of ``tools/split_data.py``: divide a video annotation file into a training and a held-out part."""

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dense.command_line import new_parser, run_command
from dense.data.formats.video_splits import merge_categories, split_videos, video_names
from dense.data.formats.youtube_vis import parse_youtube_vis
from dense.errors import DataError
from dense.io import read_json, write_json

__all__ = ["main"]

_EXAMPLES = """examples:
  split_data.py --annotations all.json --share 0.2 --output splits
  split_data.py --annotations all.json --hold-out dog cows --output splits
  split_data.py --annotations all.json --merge-categories object --output splits
The frames stay where they are: train on splits/train.json:FRAMES_FOLDER, test on splits/valid.json:FRAMES_FOLDER.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse ``argv`` (default: the process's arguments) and write ``train.json`` and ``valid.json``.

    Returns: 0 done, 1 wrong input (one line on stderr). Wrong usage exits with 2.
    """
    arguments = _parser().parse_args(argv)
    return run_command(lambda: _run(arguments), debug=arguments.debug)


def _parser() -> argparse.ArgumentParser:
    parser = new_parser("split_data.py", "Divide a YouTube-VIS file into a training and a held-out part, by video.", _EXAMPLES)
    parser.add_argument("--annotations", required=True, metavar="FILE.json", help="YouTube-VIS or OVIS annotations")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder for train.json and valid.json")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--hold-out", nargs="+", default=[], metavar="NAME", help="videos by the folder of their frames, or id")
    which.add_argument("--share", type=float, metavar="S", help="hold out this share of the videos, drawn by --seed")
    parser.add_argument("--seed", type=int, default=0, help="of --share (default %(default)s)")
    parser.add_argument("--merge-categories", metavar="NAME", help="one category of this name for all objects")
    return parser


def _run(arguments: argparse.Namespace) -> None:
    path = arguments.annotations
    data = read_json(path)
    parse_youtube_vis(data, path)
    held_out = arguments.hold_out if arguments.share is None else _draw(data, arguments.share, arguments.seed)
    if arguments.merge_categories:
        data = merge_categories(data, arguments.merge_categories)
    parts = dict(zip(("train", "valid"), split_videos(data, held_out, path), strict=True))
    output = Path(arguments.output)
    for name, part in parts.items():
        if part["videos"]:
            write_json(output / f"{name}.json", part)
            count = len(part.get("annotations") or ())
            sys.stdout.write(f"{output / name}.json: {len(part['videos'])} videos, {count} objects\n")


def _draw(data: dict[str, Any], share: float, seed: int) -> list[str]:
    if not 0 < share < 1:
        raise DataError(f"--share {share}: expected a number between 0 and 1.")
    identities = [str(identity) for identity in video_names(data)]
    count = min(max(round(share * len(identities)), 1), len(identities))
    return random.Random(seed).sample(identities, count)
