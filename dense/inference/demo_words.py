"""The ``demo-words`` command: the shipped open-vocabulary detector looks for the user's words in held-out world pictures."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dense.command_line import new_parser, run_command
from dense.config.checks import check_share
from dense.errors import ConfigError
from dense.inference.demo_image import WORDS_MODEL, Asked, check_words_model, output_pictures, process, split_words

__all__ = ["main"]

HELD_OUT_SEED = 2029  # trainings use others
_WORDS = "striped triangle, dotted square, red triangle, blue square"  # the first two have no box in training

_EXAMPLES = """examples:
  dense demo-words
  dense demo-words --words "striped triangle, red disc" --images 12
  dense demo-words --words "blue fish" --model outputs/dito/world_detector/model_final.safetensors
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Returns: 0 done, 1 wrong input (one line on stderr). Wrong usage exits with 2."""
    parser = new_parser("dense demo-words", "Find words in held-out pictures of the procedural world.", _EXAMPLES)
    parser.add_argument("--words", type=split_words, default=split_words(_WORDS), metavar="'A, B'", help=f"default '{_WORDS}'")
    parser.add_argument("--output", type=Path, default=Path("demo/words"), metavar="DIR", help="default %(default)s")
    parser.add_argument("--images", type=int, default=8, metavar="N", help="default %(default)s")
    parser.add_argument("--model", default=WORDS_MODEL, metavar="NAME", help="zoo name, .safetensors or .yaml file")
    parser.add_argument("--min-score", type=float, default=0.15, metavar="S", help="default %(default)s")
    arguments = parser.parse_args(argv)
    return run_command(lambda: _run(arguments), debug=arguments.debug)


def _run(arguments: argparse.Namespace) -> int:
    check_share("--min-score", arguments.min_score)
    if arguments.images < 1:
        raise ConfigError(f"--images: {arguments.images}, expected 1 or more.")
    if not arguments.words:
        raise ConfigError("--words: none, expected at least one, such as 'striped triangle'.")
    check_words_model(arguments.model)
    from dense.inference.image_predictor import ImagePredictor

    asked = Asked(arguments.words, heat_map=True)
    predictor = ImagePredictor(arguments.model, asked.overrides(), min_score=arguments.min_score)
    pictures = _world(arguments.output / f"world_{arguments.images}", arguments.images)
    status = process(predictor, pictures, output_pictures(pictures, arguments.output), asked)
    sys.stdout.write(f"pictures with boxes and masks, JSON, and heat maps of each word: {arguments.output}\n")
    return status


def _world(folder: Path, count: int) -> list[Path]:
    from dense.data.world import make_word_world
    from dense.video.pictures import list_pictures

    make_word_world(folder, seed=HELD_OUT_SEED, train_images=0, valid_images=count)
    return list_pictures(folder / "images" / "valid")
