"""The ``dense`` command (also ``python -m dense``): a command's code is imported only when it is called."""

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Callable
from typing import NamedTuple

import dense
from dense.errors import DenseError
from dense.registry import nearest

__all__ = ["COMMANDS", "Command", "build_ops", "main", "run"]


class Command(NamedTuple):
    """Where a command's ``main(arguments: list[str]) -> int`` is, and what it does in one line."""

    target: str
    summary: str


COMMANDS = {
    "demo-world": Command("dense.inference.demo_world:main", "segment and track a video of the procedural world, or yours"),
    "demo-words": Command("dense.inference.demo_words:main", "find any words in pictures of the procedural world"),
    "demo-video": Command("dense.inference.demo_video:main", "segment and track a video with any configuration and weights"),
    "demo-image": Command("dense.inference.demo_image:main", "segment pictures with any configuration and weights"),
    "train": Command("dense.engine.command:main", "train any system from its configuration"),
    "cache-segmenter": Command("dense.projects.dvis.caching:main", "segment the clips of tracker or refiner once"),
    "similarity-map": Command(
        "dense.inference.similarity_maps:main", "colour pictures by the similarity of features to a pixel's"
    ),
    "probe-pixels": Command("dense.inference.probe_command:main", "score frozen features of pixels by linear and k-NN probes"),
    "evaluate": Command("dense.evaluation.command:main", "score result files against ground truth; no model needed"),
    "eval-world": Command("dense.inference.demo_world:evaluate", "score the repository's weights on the procedural world"),
    "check-data": Command("dense.data.checking.command:main", "check whole data sets: every fault with record and position"),
    "make-world": Command("dense.data.world.command:main", "write the procedural world in the formats of the real data sets"),
    "split-data": Command("dense.data.split_command:main", "divide annotations into a training and a held-out part"),
    "convert-checkpoint": Command("dense.checkpoint.command:main", "checkpoints of others to our names, and back"),
    "config": Command("dense.config.__main__:main", "show a resolved configuration with the origin of each key; compare two"),
    "build-ops": Command("dense.__main__:build_ops", "compile the operators for the torch that is installed"),
    "doctor": Command("dense.doctor:main", "what is installed, what is missing, how to mend it"),
}


def build_ops(arguments: list[str]) -> int:
    """Compile the operators in place (about 20 seconds). Raises: OperatorError if that is not possible."""
    parser = argparse.ArgumentParser(
        prog="dense build-ops", description="Compile the operators for the torch that is installed."
    )
    parser.add_argument("--debug", action="store_true", help="show the frames of an error")
    parser.parse_args(arguments)
    from dense.ops.build import build_in_place

    sys.stdout.write(f"built {build_in_place()}\n")
    return 0


def usage() -> str:
    """Return the help text."""
    rows = [f"  {name:<20}{command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(["usage: dense COMMAND [options]      (dense COMMAND --help tells the options)", "", *rows, ""])


def load(name: str) -> Callable[[list[str]], int | None]:
    """Import the function behind a command.

    Raises: DenseError if this installation does not have it; ImportError if something that it imports is missing.
    """
    module, function = COMMANDS[name].target.split(":")
    try:
        return getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(f"{error.name}.")):
            raise DenseError(f"dense {name}: this version has no such command yet ({module} is missing).") from error
        raise


def run(name: str, function: Callable[[list[str]], int | None], arguments: list[str]) -> int:
    """Call a command's function and turn what it raises into an exit code and one line on stderr.

    Args:
        name: how the user called it, for messages and ``--help``, e.g. ``"dense train"``.
        function: takes the arguments, returns an exit code (None = 0).
        arguments: without the program's name; ``--debug``, which each command declares, shows an error's frames.

    Returns: 0 done, 1 wrong input or missing part, 130 interrupted; wrong usage leaves through argparse with 2.
    """
    debug = "--debug" in arguments
    sys.argv = [name, *arguments]  # argparse names the program by it
    try:
        return function(arguments) or 0
    except (DenseError, ImportError) as error:
        if debug:
            traceback.print_exc()
        hint = (
            "" if isinstance(error, DenseError) else " Run `python -m dense.doctor` to see what is missing and how to get it."
        )
        sys.stderr.write(f"{' '.join(str(error).split())}{hint}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"{name}: interrupted\n")
        return 130
    except BrokenPipeError:  # `dense doctor | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def main(arguments: list[str] | None = None) -> int:
    """Run ``dense`` with ``arguments`` (None: the command line's); return 0 done, 1 wrong input, 2 wrong usage."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    words = [word for word in given if word != "--debug"]
    if not words or words[0] in {"-h", "--help", "help"}:
        (sys.stdout if words else sys.stderr).write(usage())
        return 0 if words else 2
    name = words[0]
    if name == "--version":
        sys.stdout.write(f"dense {dense.__version__}\n")
        return 0
    if name not in COMMANDS:
        sys.stderr.write(f"dense: there is no command {name!r}.{nearest(name, list(COMMANDS))} `dense --help` lists them.\n")
        return 2
    given.remove(name)
    return run(f"dense {name}", lambda rest: load(name)(rest), given)


if __name__ == "__main__":
    raise SystemExit(main())
