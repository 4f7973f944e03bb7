"""The ``demo-world`` and ``eval-world`` commands: the shipped model on held-out world videos, or on the user's own."""

import argparse
import platform
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from dense.command_line import new_parser, run_command
from dense.inference.demo_outputs import Outputs
from dense.inference.demo_video import DEFAULT_MODEL, process
from dense.inference.video_page import own_video_report, write_own_page
from dense.inference.world_pages import world_report, write_world_video
from dense.inference.world_run import model_card, run_world, score_table
from dense.video import check_output_path, open_frames
from dense.visualization import write_report

__all__ = ["evaluate", "main"]

_EXAMPLES = """examples:
  dense demo-world
  dense demo-world --input clip.mp4
"""


def main(argv: Sequence[str] | None = None) -> int:
    """``demo-world``: returns 0 done, 1 wrong input. Wrong usage exits with 2."""
    parser = _parser("demo-world", "Segment and track held-out videos of the procedural world, or a video of your own.", 12)
    parser.add_argument("--input", metavar="VIDEO", help="your own video, folder of frames or webcam:N")
    arguments = parser.parse_args(argv)
    return run_command(lambda: _demo(arguments), debug=arguments.debug)


def evaluate(argv: Sequence[str] | None = None) -> int:
    """``eval-world``: returns 0 done, 1 wrong input. Wrong usage exits with 2."""
    parser = _parser("eval-world", "Score the shipped model on held-out videos of the procedural world.", 40)
    arguments = parser.parse_args(argv)
    return run_command(lambda: _evaluate(arguments), debug=arguments.debug)


def _parser(name: str, description: str, videos: int) -> argparse.ArgumentParser:
    parser = new_parser(f"dense {name}", description, _EXAMPLES.replace("demo-world", name))
    parser.add_argument("--output", type=Path, default=Path("demo"), metavar="DIR", help="default %(default)s")
    parser.add_argument("--videos", type=int, default=videos, metavar="N", help="default %(default)s")
    parser.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME", help="zoo name or .safetensors file")
    return parser


def _predictor(arguments: argparse.Namespace) -> Any:  # noqa: ANN401  imported late: torch takes seconds
    from dense.inference.video_predictor import VideoPredictor

    return VideoPredictor(arguments.model)


def _demo(arguments: argparse.Namespace) -> None:
    if arguments.input is not None:
        _own_video(arguments)
        return
    folder = arguments.output
    check_output_path(folder / "demo.mp4")
    card = model_card(arguments.model)
    run = run_world(_predictor(arguments), folder, arguments.videos)
    figures = card.get("figures", {}).get(f"{arguments.videos} videos", {})
    _print(score_table(run.scores, figures, f"video AP on {arguments.videos} held-out world videos"))
    video = write_world_video(run, folder / "demo.mp4")
    page = write_report(world_report(run, card, figures, _facts(arguments, card)), folder / "index.html")
    _print(f"annotated video   {video}\nresults           {run.results_path}\npage to open      {page}")


def _own_video(arguments: argparse.Namespace) -> None:
    label = str(arguments.input)
    folder = arguments.output / (Path(label).stem or "video")
    check_output_path(folder / "annotated.mp4")
    outputs = Outputs(folder / "annotated.mp4", None, folder / "predictions.jsonl", folder)
    with open_frames(int(label) if label.isdecimal() else label) as source:
        written = process(_predictor(arguments), source, outputs)
    card = model_card(arguments.model)
    notes = ["The shipped model knows the shapes of the procedural world; real footage shows that the path works, not more."]
    report = own_video_report(label, folder / "predictions.jsonl", folder / "annotated.mp4", _facts(arguments, card), notes)
    page = write_own_page(report, folder / "index.html")
    _print("\n".join(map(str, [*written, page])))


def _evaluate(arguments: argparse.Namespace) -> None:
    card = model_card(arguments.model)
    run = run_world(_predictor(arguments), arguments.output / "eval-world", arguments.videos)
    figures = card.get("figures", {}).get(f"{arguments.videos} videos", {})
    _print(score_table(run.scores, figures, f"video AP on {arguments.videos} held-out world videos"))
    _print(f"results  {run.results_path}")


def _facts(arguments: argparse.Namespace, card: dict[str, Any]) -> dict[str, str | Sequence[str]]:
    import torch

    weights = str(card.get("sha256", ""))[:16]
    return {
        "model": arguments.model + (f" (SHA-256 {weights}…)" if weights else ""),
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {platform.system()}, torch {torch.__version__}, {torch.get_num_threads()} threads",
        "again": [f"dense demo-world --videos {arguments.videos}", "dense demo-world --input YOUR_VIDEO.mp4"],
    }


def _print(what: Any) -> None:  # noqa: ANN401  text or a rich table
    from rich.console import Console

    Console(highlight=False).print(what, soft_wrap=True)
