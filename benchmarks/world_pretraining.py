"""``python -m benchmarks.world_pretraining --unlabelled DIR --labelled DIR``: what PixPro is worth when labels are few.

Pretrains a small backbone on unlabelled pictures of the world, at pixel level (PixPro) and for the same number of steps at the
level of whole views (its instance branch alone), fine-tunes Mask R-CNN on 100 labelled pictures from each and from
random weights, and scores boxes and masks on held-out pictures. The worlds of the published table:

  tools/make_world.py --kind images --output DIR --seed 31 --train-images 5000 --valid-images 10     (--unlabelled)
  tools/make_world.py --kind images --output DIR --seed 32 --train-images 200 --valid-images 200     (--labelled)

A seed changes first weights, order, views and fine-tuning. Runs that are done are not repeated, interrupted ones go on.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.world_study import ROOT, add_study_arguments, link_world, mean_and_spread, report, train

__all__ = ["main"]

_PRETRAININGS = {"instance level": "world_tiny_instance", "PixPro": "world_tiny"}
_FIGURES = ("bbox/AP", "bbox/AP50", "segm/AP", "segm/AP50")


class Study:
    """Trains and scores; everything goes below the output folder."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.unlabelled = link_world(options.unlabelled, options.output / "unlabelled", "world_images")
        self.labelled = link_world(options.labelled, options.output / "labelled", "world_images")

    def pretrained(self, name: str, seed: int) -> Path:
        """Weights after one pretraining."""
        config = ROOT / "configs/pixpro" / f"{_PRETRAININGS[name]}.yaml"
        output = self.options.output / f"{_PRETRAININGS[name]}_{seed}"
        steps = ["SOLVER.MAX_ITER", str(self.options.steps)] if self.options.steps else []
        return self._train(config, output, seed, steps, self.unlabelled)

    def figures(self, weights: Path | None, seed: int, name: str) -> dict[str, float]:
        """Fine-tune from these weights, ``None`` = random ones, and score."""
        config = ROOT / "configs/pixpro/transfer/world_mask_rcnn.yaml"
        output = self.options.output / f"{name}_{seed}"
        self._train(config, output, seed, ["MODEL.WEIGHTS", str(weights or "")], self.labelled)
        lines = map(json.loads, (output / "metrics.json").read_text(encoding="utf-8").splitlines())
        scored = [line for line in lines if f"test/{_FIGURES[0]}" in line][-1]
        return {figure: float(scored[f"test/{figure}"]) for figure in _FIGURES}

    def _train(self, config: Path, output: Path, seed: int, extra: Sequence[str], datasets: Path) -> Path:
        return train(config, output, ["SEED", seed, *extra], datasets)


def _rows(study: Study, seeds: Sequence[int]) -> list[dict[str, Any]]:
    rows = []
    for name in ("random", *_PRETRAININGS):
        runs = []
        for seed in seeds:
            weights = None if name == "random" else study.pretrained(name, seed)
            runs.append(study.figures(weights, seed, f"tuned_{_PRETRAININGS.get(name, name)}"))
        row = {"backbone's start": name, **mean_and_spread(runs, _FIGURES)}
        for kind in ("bbox", "segm"):
            row[f"{kind}/AP of each seed"] = "  ".join(f"{run[f'{kind}/AP']:.1f}" for run in runs)
        rows.append(row)
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Train what is missing, score all, print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.world_pretraining",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--unlabelled", type=Path, required=True, metavar="DIR", help="world to pretrain on")
    parser.add_argument("--labelled", type=Path, required=True, metavar="DIR", help="world to fine-tune on and to score on")
    add_study_arguments(parser, "outputs/world_pretraining")
    options = parser.parse_args(arguments)
    rows = _rows(Study(options), options.seeds)
    header = [
        "percent, mean and standard deviation over seeds; 100 labelled pictures, 200 held-out ones.",
        "python -m benchmarks.world_pretraining --unlabelled DIR --labelled DIR",
    ]
    report(header, rows, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
