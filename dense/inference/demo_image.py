"""The ``demo-image`` command: pictures in; annotated pictures, JSON and maps out. A broken picture does not stop the others."""

import argparse
import glob
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dense.command_line import new_parser, run_command
from dense.config.checks import check_share
from dense.errors import ConfigError, DataError
from dense.inference.progress import frame_progress
from dense.video.pictures import PICTURE_SUFFIXES, list_pictures, natural_key, read_picture

__all__ = [
    "DEFAULT_MODEL",
    "WORDS_MODEL",
    "Asked",
    "build_parser",
    "check_words_model",
    "find_pictures",
    "main",
    "output_pictures",
    "process",
    "split_words",
]

DEFAULT_MODEL = "world_ctvis_lite0"  # a video segmenter; as an image model it finds the objects of each picture
WORDS_MODEL = "world_dito_tiny"  # finds any words in pictures of the procedural world
WORD_CACHE = "~/.cache/dense/words"
_LEAST_SCORES = (0.3, 0.15)  # of objects of a closed vocabulary, of words
_AS_IMAGE_MODEL = ["MODEL.META_ARCHITECTURE", "ImageSegmenter"]
_AS_IMAGE_MODEL += ["MODEL.MASK_FORMER.TEST.INSTANCE_ON", "True", "MODEL.MASK_FORMER.TEST.SEMANTIC_ON", "False"]
_WRITTEN = (".png", ".jpg", ".jpeg")

_EXAMPLES = """examples:
  demo_image.py --input photo.jpg --output out/
  demo_image.py --input photo.jpg --output annotated.png
  demo_image.py --input photos/ --output out/ --recursive
  demo_image.py --input 'photos/*.jpg' --output out/ --format jpg
  demo_image.py --input photos/ --output out/ --vocabulary "striped triangle, red disc" --heat-map
  demo_image.py --input photo.jpg --output out/ --config-file configs/world/mask2former_lite0_panoptic.yaml MODEL.WEIGHTS FILE
"""


def build_parser() -> argparse.ArgumentParser:
    """The arguments."""
    parser = new_parser("demo_image.py", "Segment pictures.", _EXAMPLES)
    parser.add_argument("--input", required=True, metavar="PICTURE", help="picture, folder, or 'pattern/*.jpg'")
    parser.add_argument(
        "--output", required=True, metavar="PATH", help="folder for all results, or a .png or .jpg for one picture"
    )
    parser.add_argument("--config-file", metavar="FILE", help="YAML file (weights: MODEL.WEIGHTS FILE)")
    parser.add_argument(
        "--model", metavar="NAME", help=f"zoo name or .safetensors file (default {DEFAULT_MODEL}; for words {WORDS_MODEL})"
    )
    parser.add_argument("--vocabulary", type=split_words, metavar="'A, B'", help="words to look for, with commas between them")
    parser.add_argument("--heat-map", action="store_true", help="also draw where each word of --vocabulary is")
    parser.add_argument(
        "--word-cache",
        default=WORD_CACHE,
        metavar="DIR",
        help="where embeddings of words are kept (default %(default)s; '' = not)",
    )
    parser.add_argument(
        "--min-score", "--confidence-threshold", type=float, metavar="S", help="default 0.3, with --vocabulary 0.15"
    )
    parser.add_argument("--recursive", action="store_true", help="pictures of sub-folders too")
    parser.add_argument("--format", choices=("png", "jpg"), default="png", help="of annotated pictures (default png)")
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE", help="configuration values")
    return parser


def split_words(text: str) -> tuple[str, ...]:
    """Words with commas between them; none of a blank text."""
    return tuple(word.strip() for word in text.split(",")) if text.strip() else ()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns: 0 done; 1 wrong input: one line on stderr for each, results of the other pictures are written. Wrong usage exits
        with 2.
    """
    arguments = build_parser().parse_intermixed_args(argv)
    return run_command(
        lambda: _run(arguments), debug=arguments.debug, interrupted="interrupted; results written so far are kept"
    )


def _run(arguments: argparse.Namespace) -> int:
    """Check everything that can be checked before the model is built, then go through the pictures."""
    asked = Asked(arguments.vocabulary, arguments.heat_map)
    min_score = _LEAST_SCORES[asked.words is not None] if arguments.min_score is None else arguments.min_score
    check_share("--min-score", min_score)
    pictures = find_pictures(arguments.input, arguments.recursive)
    targets = output_pictures(pictures, Path(arguments.output), arguments.format)
    if len(pictures) == 1:
        read_picture(pictures[0])  # before seconds of building a model
    from dense.inference.image_predictor import ImagePredictor

    model = arguments.model or (DEFAULT_MODEL if asked.words is None else WORDS_MODEL)
    default = arguments.config_file is None and model == DEFAULT_MODEL
    if arguments.config_file is None:
        check_words_model(model)
    overrides = [*(_AS_IMAGE_MODEL if default else asked.overrides(arguments.word_cache)), *arguments.opts]
    predictor = ImagePredictor(arguments.config_file or model, overrides, min_score=min_score)
    return process(predictor, pictures, targets, asked)


def check_words_model(name: str) -> None:
    """Raises: ConfigError if this is the model for words and its weights are not in the repository."""
    from dense.inference.model_source import zoo_names

    if name == WORDS_MODEL and name not in zoo_names():
        raise ConfigError(
            f"weights/{name}.safetensors: is not there. Train it as told in projects/dito/README.md, or give --model FILE."
        )


@dataclass(frozen=True)
class Asked:
    """What is looked for in every picture.

    Attributes:
        words: of an open-vocabulary model; ``None`` = the model's own categories.
        heat_map: also draw where each word is.

    Raises: ConfigError for a heat map without words.
    """

    words: tuple[str, ...] | None = None
    heat_map: bool = False

    def __post_init__(self) -> None:
        if self.heat_map and not self.words:
            raise ConfigError("--heat-map: of what? Give --vocabulary with at least one word.")

    def overrides(self, cache: str = WORD_CACHE) -> list[str]:
        """Configuration values for the model."""
        return [] if self.words is None else ["MODEL.DITO.TEXT.CACHE", cache]


def process(
    predictor: Any,  # noqa: ANN401  torch is imported late
    pictures: Sequence[Path],
    targets: Sequence[Path],
    asked: Asked = Asked(),
) -> int:
    """Segment each picture and write its results; a picture that cannot be read costs one line on stderr.

    Args:
        predictor: an ``ImagePredictor``.
        pictures: files to read.
        targets: annotated picture to write for each.
        asked: words to look for.

    Returns: 0, or 1 if a picture failed. Raises: DataError if nothing can be written, or for words that cannot be looked for.
    """
    from dense.inference.image_files import ImageFiles

    failed: list[str] = []
    with frame_progress("pictures", len(pictures), "pictures") as advance:
        for path, target in zip(pictures, targets, strict=True):
            try:
                image = read_picture(path)
            except DataError as error:
                failed.append(f"{type(error).__name__}: {error}\n")
            else:
                files = ImageFiles(target)
                result = predictor.predict(image, asked.words)
                written = files.write(image, result, str(path))
                if asked.heat_map:
                    written += files.write_heat(image, predictor.word_maps(image, asked.words), result.categories)
                sys.stdout.write("".join(f"{file}\n" for file in written))
            advance()
    sys.stderr.write("".join(failed))
    if failed and len(pictures) > 1:
        sys.stderr.write(f"{len(failed)} of {len(pictures)} pictures failed, the others are done\n")
    return 1 if failed else 0


def find_pictures(text: str, recursive: bool = False) -> list[Path]:
    """Pictures that a file name, folder or pattern names, in natural order.

    Raises: DataError if there are none; VideoError (a DenseError) for a folder without pictures.
    """
    path = Path(text)
    if path.is_file():
        return [path]
    if path.is_dir():
        return list_pictures(path, recursive)
    if glob.has_magic(text):
        paths = map(Path, glob.glob(text, recursive=True))  # noqa: PTH207  Path.glob knows no absolute patterns
        found = sorted(filter(_is_picture, paths), key=natural_key)
        if found:
            return found
        raise DataError(f"{text}: matches no picture. Looked for {', '.join(PICTURE_SUFFIXES)}.")
    raise DataError(f"{text}: no such file or folder. Expected a picture or a folder with {', '.join(PICTURE_SUFFIXES)}.")


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES and path.is_file()


def output_pictures(pictures: Sequence[Path], target: Path, kind: str = "png") -> list[Path]:
    """Name of the annotated picture for each picture; sub-folders are kept, equal stems told apart by their extension.

    Raises: ConfigError if several pictures should go into one file, or one would be written over.
    """
    if target.suffix.lower() in _WRITTEN and not target.is_dir():
        if len(pictures) > 1:
            raise ConfigError(f"{target}: {len(pictures)} pictures do not go into one file. Give a folder.")
        outputs = [target]
    else:
        if target.exists() and not target.is_dir():
            raise ConfigError(f"{target}: is a file, expected a folder, or a name ending in .png or .jpg.")
        outputs = [target / name for name in _names(pictures, kind)]
    for picture, output in zip(pictures, outputs, strict=True):
        if output.exists() and any(output.samefile(p) for p in pictures):
            raise ConfigError(f"{output}: would be written over the picture {picture}. Give another --output.")
    return outputs


def _names(pictures: Sequence[Path], kind: str) -> list[Path]:
    root = Path(pictures[0]).parent if len(pictures) == 1 else _common_folder(pictures)
    stems = [picture.relative_to(root).with_suffix("") for picture in pictures]
    count = Counter(stems)
    names = []
    for picture, stem in zip(pictures, stems, strict=True):
        unique = stem if count[stem] == 1 else stem.with_name(f"{stem.name}_{picture.suffix[1:]}")
        names.append(unique.with_name(f"{unique.name}.{kind}"))
    return names


def _common_folder(pictures: Sequence[Path]) -> Path:
    folder = pictures[0].parent
    while not all(folder in picture.parents for picture in pictures):
        folder = folder.parent
    return folder
