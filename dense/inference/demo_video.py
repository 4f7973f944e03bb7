"""The ``demo-video`` command: a video in; annotated video, pictures and result files out; in constant memory."""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any

from dense.command_line import new_parser, run_command
from dense.config.checks import check_share
from dense.errors import ConfigError
from dense.inference.demo_outputs import DemoWriters, Outputs
from dense.inference.progress import frame_progress
from dense.video import DamagedVideoError, FrameSource, check_output_path, open_frames

__all__ = ["DEFAULT_MODEL", "Outputs", "build_parser", "main", "run"]

DEFAULT_MODEL = "world_ctvis_lite0"

_EXAMPLES = """examples:
  demo_video.py --input clip.mp4 --output out/
  demo_video.py --input frames/ --rate 25 --output out.mp4
  demo_video.py --input 'frames/*.jpg' --output out/ --save-frames
  demo_video.py --input webcam:0 --output out/ --max-frames 300
  demo_video.py --input clip.mp4 --output out/ --config-file configs/dvis/ytvis19/minvis_r50.yaml MODEL.WEIGHTS minvis.pth
  demo_video.py --input clip.mp4 --output out/ --page --config-file configs/world/ctvis_lite0_panoptic.yaml MODEL.WEIGHTS FILE
"""


def build_parser() -> argparse.ArgumentParser:
    """The arguments."""
    parser = new_parser(
        "demo_video.py",
        "Segment a video and follow its objects: instances, panoptic or semantic.",
        _EXAMPLES,
    )
    parser.add_argument("--input", required=True, metavar="VIDEO", help="video file, folder, 'pattern/*.jpg', or webcam:N")
    parser.add_argument("--output", required=True, metavar="PATH", help="folder for all results, or the video file to write")
    parser.add_argument("--config-file", metavar="FILE", help="YAML file (weights: MODEL.WEIGHTS FILE)")
    parser.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME", help="zoo name or .safetensors file")
    parser.add_argument(
        "--min-score", "--confidence-threshold", type=float, default=0.3, metavar="S", help="of an instance (default 0.3)"
    )
    parser.add_argument("--save-frames", action="store_true", help="also write every annotated frame as PNG")
    parser.add_argument("--page", action="store_true", help="also write index.html: video, time lines, example frames")
    parser.add_argument("--no-video", action="store_true", help="write no video")
    parser.add_argument("--rate", default="10", metavar="FPS", help="of a folder of frames (default 10)")
    parser.add_argument("--stream", type=int, default=None, metavar="N", help="video stream of the file (default: the best)")
    parser.add_argument("--max-frames", type=int, default=None, metavar="N", help="stop after so many frames")
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE", help="configuration values")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns: 0 done, 1 wrong input (one line on stderr; frames already written stay). Wrong usage exits with 2.
    """
    arguments = build_parser().parse_intermixed_args(argv)

    def work() -> None:
        sys.stdout.write("".join(f"{path}\n" for path in run(arguments)))

    return run_command(work, debug=arguments.debug, interrupted="interrupted; frames written so far are kept")


def run(arguments: argparse.Namespace) -> list[Path]:
    """Check everything that can be checked before the model runs, then go through the video.

    Returns: the files and folders written.
    """
    check_share("--min-score", arguments.min_score)
    if arguments.max_frames is not None and arguments.max_frames < 1:
        raise ConfigError(f"--max-frames {arguments.max_frames}: expected 1 or more.")
    outputs = _outputs(Path(arguments.output), arguments)
    source = open_frames(_camera_or_path(arguments.input), rate=arguments.rate, stream=arguments.stream)
    with source:
        from dense.inference.video_predictor import VideoPredictor

        predictor = VideoPredictor(arguments.config_file or arguments.model, arguments.opts, min_score=arguments.min_score)
        return process(predictor, source, outputs, arguments.max_frames)


def process(predictor: Any, source: FrameSource, outputs: Outputs, max_frames: int | None = None) -> list[Path]:  # noqa: ANN401
    """Stream a source through a predictor into the outputs.

    Raises: VideoError; DamagedVideoError once everything before the damage is written and closed.
    """
    damage: DamagedVideoError | None = None
    with ExitStack() as stack:
        writers = DemoWriters(outputs, source, predictor.task, predictor.categories, stack)
        advance = stack.enter_context(frame_progress(source.label, _total(source, max_frames)))
        try:
            for frame, result in predictor.stream_frames(source):
                writers.write(frame, result)
                advance()
                if max_frames is not None and frame.index + 1 >= max_frames:
                    break
        except DamagedVideoError as error:
            damage = error  # what came before it is good: close the files properly first
            if not error.frames_read:
                raise
    written = writers.finish({"model": type(predictor.model).__name__, "date": date.today().isoformat()})
    for note in source.notes:
        sys.stderr.write(f"note: {note}\n")
    if damage is not None:
        raise damage
    return written


def _outputs(target: Path, arguments: argparse.Namespace) -> Outputs:
    """Decide on and check the output files: before the model runs, not after."""
    if target.suffix and not target.is_dir() and not arguments.output.endswith(("/", os.sep)):
        video, folder = target, target.parent / target.stem
        lines, results = target.with_suffix(".jsonl"), None
    else:
        video, folder = target / "annotated.mp4", target
        lines, results = target / "predictions.jsonl", target
    frames = folder / "frames" if arguments.save_frames else None
    for path in (video, frames):
        if path is not None and path.exists() and path.resolve() == Path(arguments.input).resolve():
            raise ConfigError(f"--output {arguments.output}: would overwrite the input {arguments.input}. Give another place.")
    check_output_path(video)
    page = folder / "index.html" if arguments.page else None
    for path in (lines, page, *(results / name for name in ("results.json", "pred.json") if results is not None)):
        if path is not None and path.is_dir():
            raise ConfigError(f"{path}: is a folder, but a file of results goes there. Give another --output.")
    if page is not None and arguments.no_video:
        raise ConfigError("--page shows the annotated video, which --no-video leaves out. Give one of both.")
    return Outputs(None if arguments.no_video else video, frames, lines, results, page)


def _camera_or_path(text: str) -> str | int:
    return int(text) if text.isdecimal() else text


def _total(source: FrameSource, limit: int | None) -> int | None:
    known = [n for n in (source.num_frames, limit) if n is not None]
    return min(known) if known else None
