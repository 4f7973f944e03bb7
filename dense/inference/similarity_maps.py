"""The ``similarity-map`` command: which pixels a network finds alike to a chosen one, as pictures."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dense.command_line import new_parser, run_command
from dense.errors import ConfigError
from dense.inference.demo_image import find_pictures
from dense.io import atomic_write

__all__ = ["build_parser", "chosen_pixels", "main", "write_maps"]

_EXAMPLES = """examples:
  similarity_map.py --model pretrain.yaml --input photo.jpg --pixel 120,80 --output maps/ MODEL.WEIGHTS model.pth
  similarity_map.py --model backbone.safetensors --input photos/ --grid 3x2 --output maps/
  similarity_map.py --model pretrain.yaml --input 'photos/*.jpg' --grid 4x3 --feature res4 --span=-1,1 --output maps/
"""


def build_parser() -> argparse.ArgumentParser:
    """The arguments."""
    parser = new_parser("similarity_map.py", "Colour pictures by the similarity of every pixel to a chosen one.", _EXAMPLES)
    parser.add_argument("--model", required=True, metavar="SOURCE", help="YAML file, .safetensors file with one, or zoo name")
    parser.add_argument("--input", required=True, metavar="PICTURE", help="picture, folder, or 'pattern/*.jpg'")
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder for the pictures")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--pixel", action="append", type=_two("X,Y", ",", int), metavar="X,Y", help="pixel; may be repeated")
    which.add_argument("--grid", type=_two("COLUMNSxROWS", "x", int), default=(3, 2), metavar="CxR", help="default 3x2")
    parser.add_argument("--feature", default="", metavar="NAME", help="output of the backbone (default: the compared one)")
    parser.add_argument("--min-size", type=int, default=0, metavar="PIXELS", help="shortest edge of the input; 0 = as it is")
    parser.add_argument(
        "--span", type=_two("LOW,HIGH", ",", float), metavar="LOW,HIGH", help="cosines at the ends of the colours"
    )
    parser.add_argument("--recursive", action="store_true", help="pictures of sub-folders too")
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE", help="configuration values, such as MODEL.WEIGHTS FILE")
    return parser


def _two(form: str, separator: str, kind: type) -> Any:  # noqa: ANN401  argparse wants a function of the text
    def read(text: str) -> tuple[Any, Any]:
        try:
            first, second = (kind(part) for part in text.split(separator))
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r}, expected {form}") from error
        return first, second

    return read


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Returns: 0 done, 1 wrong input (one line on stderr). Wrong usage exits with 2."""
    arguments = build_parser().parse_intermixed_args(argv)
    return run_command(lambda: _run(arguments), debug=arguments.debug)


def _run(arguments: argparse.Namespace) -> None:
    if min(arguments.grid) < 1:
        raise ConfigError(f"--grid: {arguments.grid[0]}x{arguments.grid[1]}, expected 1x1 or more.")
    pictures = find_pictures(arguments.input, arguments.recursive)
    from dense.inference.pixel_features import PixelEncoder, model_config
    from dense.modeling.builder import build_model
    from dense.video.pictures import read_picture

    cfg = model_config(arguments.model, arguments.opts)
    if not cfg.MODEL.WEIGHTS:
        sys.stderr.write("MODEL.WEIGHTS is empty: these are the maps of a network with random weights\n")
    encoder = PixelEncoder(build_model(cfg), cfg, arguments.feature, arguments.min_size)
    for number, path in enumerate(pictures):
        image = read_picture(path)
        pixels = arguments.pixel or chosen_pixels((image.shape[0], image.shape[1]), *arguments.grid)
        stem = path.stem if sum(p.stem == path.stem for p in pictures) == 1 else f"{number:04d}_{path.stem}"
        for file in write_maps(encoder, image, pixels, arguments.output / stem, arguments.span):
            sys.stdout.write(f"{file}\n")


def chosen_pixels(size: tuple[int, int], columns: int, rows: int) -> list[tuple[int, int]]:
    """(x, y) of an even grid, inside a picture of (height, width) pixels; row by row."""
    xs = [int((c + 0.5) * size[1] / columns) for c in range(columns)]
    ys = [int((r + 0.5) * size[0] / rows) for r in range(rows)]
    return [(x, y) for y in ys for x in xs]


def write_maps(
    encoder: Any,  # noqa: ANN401  a PixelEncoder; torch is imported late
    image: NDArray[np.uint8],
    pixels: Sequence[tuple[int, int]],
    stem: Path,
    span: tuple[float, float] | None = None,
) -> list[Path]:
    """Draw the similarity to each pixel, for the backbone's features and the projections.

    Args:
        encoder: a ``PixelEncoder``.
        image: ``(H, W, 3)`` uint8 RGB.
        pixels: (x, y) of each.
        stem: files are named ``STEM_x12_y34_res4.png``.
        span: cosines at the ends of the colours; ``None`` = lowest and highest of each picture.

    Returns: the files. Raises: DataError for a pixel outside the picture.
    """
    from PIL import Image

    from dense.visualization.similarity import draw_similarity

    written, maps = [], encoder.maps(image)
    for x, y in pixels:
        for name, features in maps.items():
            cosines = features.similarity(x, y).cpu().numpy()
            drawn = draw_similarity(image, cosines, (x, y), span=span, title=f"{name} ({x}, {y})")
            written.append(stem.with_name(f"{stem.name}_x{x}_y{y}_{name}.png"))
            with atomic_write(written[-1], "wb") as file:
                Image.fromarray(drawn).save(file, "PNG")
    return written
