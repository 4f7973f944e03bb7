"""The ``probe-pixels`` command: linear and nearest-neighbour probes on frozen features, beside the untrained network."""

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dense.command_line import new_parser, run_command
from dense.errors import ConfigError

__all__ = ["build_parser", "main", "summary_lines"]

_EXAMPLES = """examples:
  probe_pixels.py --model pretrain.yaml MODEL.WEIGHTS model.pth
  probe_pixels.py --model backbone.safetensors --feature res4 --seeds 3 --json probe.json
  probe_pixels.py --model model.yaml --kind image_instance --train a.json:images --valid b.json:images MODEL.WEIGHTS FILE
"""
_KINDS = ("image_semantic", "image_panoptic", "image_instance")


def build_parser() -> argparse.ArgumentParser:
    """The arguments."""
    parser = new_parser("probe_pixels.py", "Probe frozen features of pixels: mIoU and accuracy in percent.", _EXAMPLES)
    parser.add_argument("--model", required=True, metavar="SOURCE", help="YAML file, .safetensors file with one, or zoo name")
    parser.add_argument("--train", default="world_images_train_semantic", metavar="NAME", help="default %(default)s")
    parser.add_argument("--valid", default="world_images_valid_semantic", metavar="NAME", help="default %(default)s")
    parser.add_argument("--kind", choices=_KINDS, default=_KINDS[0], help="of both (default %(default)s)")
    parser.add_argument("--feature", default="", metavar="NAME", help="output of the backbone (default: the compared one)")
    parser.add_argument("--on", default="", metavar="MAP", help="projection = the projector's output instead of the backbone's")
    parser.add_argument("--min-size", type=int, default=0, metavar="PIXELS", help="shortest edge of the input; 0 = as it is")
    parser.add_argument("--images", type=int, nargs=2, default=(0, 0), metavar=("TRAIN", "VALID"), help="first ones; 0 = all")
    parser.add_argument("--pixels", type=int, default=100, metavar="N", help="training pixels per image (default %(default)s)")
    parser.add_argument("--neighbours", type=int, default=20, metavar="K", help="default %(default)s")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds 0 to N-1 (default %(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write every figure to this file too")
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE", help="configuration values, such as MODEL.WEIGHTS FILE")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Returns: 0 done, 1 wrong input (one line on stderr). Wrong usage exits with 2."""
    arguments = build_parser().parse_intermixed_args(argv)
    return run_command(lambda: _run(arguments), debug=arguments.debug)


def _run(arguments: argparse.Namespace) -> None:
    for name in ("pixels", "neighbours", "seeds"):
        if getattr(arguments, name) < 1:
            raise ConfigError(f"--{name}: {getattr(arguments, name)}, expected 1 or more.")
    from dense.inference.pixel_features import PixelEncoder, model_config, random_encoder
    from dense.inference.probe_images import read_probe_images
    from dense.io import write_json
    from dense.modeling.builder import build_model

    cfg = model_config(arguments.model, arguments.opts)
    if not cfg.MODEL.WEIGHTS:
        raise ConfigError("MODEL.WEIGHTS: empty, nothing to compare with random weights. Add `MODEL.WEIGHTS FILE`.")
    train = read_probe_images(arguments.train, arguments.kind, arguments.images[0])
    valid = read_probe_images(arguments.valid, arguments.kind, arguments.images[1])
    if train.names != valid.names:
        raise ConfigError(
            f"--valid: classes {', '.join(valid.names[:5])}… are not those of --train, {', '.join(train.names[:5])}…"
        )
    loaded, rows = PixelEncoder(build_model(cfg), cfg, arguments.feature, arguments.min_size), []
    for seed in range(arguments.seeds):
        networks = {"checkpoint": loaded, "random": random_encoder(cfg, seed, arguments.feature, arguments.min_size)}
        for network, encoder in networks.items():
            rows += [{"network": network, "seed": seed, **row} for row in _probe(encoder, train, valid, arguments, seed)]
    sys.stdout.write("\n".join(summary_lines(rows)) + "\n")
    if arguments.json:
        write_json(Path(arguments.json), {"model": arguments.model, "weights": cfg.MODEL.WEIGHTS, "rows": rows}, indent=1)


def _probe(encoder: Any, train: Any, valid: Any, arguments: argparse.Namespace, seed: int) -> list[dict[str, Any]]:  # noqa: ANN401
    from dense.inference.pixel_probe import collect_pixels, linear_probe, neighbour_probe, score_probes

    on = arguments.on or encoder.feature
    if on != encoder.feature and not (on == "projection" and encoder.has_projection):
        raise ConfigError(f"--on: {on!r}, expected {encoder.feature!r}{' or projection' if encoder.has_projection else ''}.")
    pixels = collect_pixels(
        encoder, train.annotations, train.chosen, on=on, per_image=arguments.pixels, seed=seed, background=train.background
    )
    probes = {
        "linear": linear_probe(pixels, len(train.names)),
        "neighbours": neighbour_probe(pixels, len(train.names), neighbours=arguments.neighbours),
    }
    scores = score_probes(
        encoder, probes, valid.annotations, valid.chosen, on=on, names=valid.names, background=valid.background
    )
    return [{"probe": name, "on": on, "pixels": len(pixels.labels), **figures} for name, figures in scores.items()]


def summary_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A table: mean and standard deviation over seeds of mIoU and pixel accuracy, percent, per probe and network."""
    lines = [f"{'probe':12}{'network':12}{'mIoU':>16}{'accuracy':>16}   seeds"]
    for probe in dict.fromkeys(row["probe"] for row in rows):
        for network in dict.fromkeys(row["network"] for row in rows):
            part = [row for row in rows if (row["probe"], row["network"]) == (probe, network)]
            cells = [_spread([row[key] for row in part]) for key in ("mIoU", "pixel_accuracy")]
            lines.append(f"{probe:12}{network:12}{cells[0]:>16}{cells[1]:>16}   {len(part)}")
    return lines


def _spread(values: Sequence[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):.2f} ± {deviation:.2f}"
