"""What every command line shares: a parser with examples and ``--debug``, errors as one line, exit codes."""

import argparse
import sys
import warnings
from collections.abc import Callable

from dense.errors import DenseError

__all__ = ["new_parser", "run_command"]


def new_parser(prog: str, description: str, examples: str = "") -> argparse.ArgumentParser:
    """A parser whose ``--help`` ends with examples; it has ``--debug``."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    return parser


def run_command(action: Callable[[], int | None], *, debug: bool, interrupted: str = "interrupted") -> int:
    """Do the work of a command and turn what it raises into an exit code.

    Args:
        action: the work; may return an exit code of its own (``None`` = 0).
        debug: let errors through with their frames.
        interrupted: line for Ctrl-C.

    Returns: 0 done, 1 wrong input (one line on stderr), 130 interrupted. Wrong usage leaves through argparse with 2.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*torch.jit.script", FutureWarning)  # of imported packages; nothing for the user
            return action() or 0
    except DenseError as error:
        if debug:
            raise
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"{interrupted}\n")
        return 130
