"""Command line of ``tools/train_tokenizer.py``: captions → a small tokenizer."""

import argparse
import logging
import sys
from collections.abc import Sequence

from dense.command_line import new_parser, run_command
from dense.projects.dito.text.training import read_captions, train_tokenizer

__all__ = ["main"]

logger = logging.getLogger(__name__)

_EXAMPLES = """examples:
  train_tokenizer.py --captions captions_train.json --pieces 1000 --output tokenizer.json
  train_tokenizer.py --captions lines.txt more_lines.txt --output tokenizer.json
Then: MODEL.DITO.TEXT.TOKENIZER tokenizer.json MODEL.DITO.TEXT.PIECES <the number that is printed, or more>
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse ``argv`` (default: the process's arguments) and write the tokenizer.

    Returns: 0 done, 1 wrong input (one line on stderr). Wrong usage exits with 2.
    """
    parser = new_parser("train_tokenizer.py", "Train a small tokenizer (byte pairs, lower case) on captions.", _EXAMPLES)
    parser.add_argument(
        "--captions", required=True, nargs="+", metavar="FILE", help="COCO captions .json, or text with one caption a line"
    )
    parser.add_argument("--pieces", type=int, default=2000, metavar="N", help="most pieces (default 2000)")
    parser.add_argument("--output", required=True, metavar="FILE", help="tokenizer.json to write")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    return run_command(lambda: _train(arguments), debug=arguments.debug)


def _train(arguments: argparse.Namespace) -> None:
    captions = [caption for file in arguments.captions for caption in read_captions(file)]
    count = train_tokenizer(captions, arguments.pieces, arguments.output)
    logger.info("%s: %d pieces from %d captions", arguments.output, count, len(captions))
