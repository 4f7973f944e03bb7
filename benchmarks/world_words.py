"""``python -m benchmarks.world_words --train DIR --test DIR``: words never boxed, and what each idea of DITO is worth.

Per seed: pretraining on captions, region pretraining over it, and three detectors trained on boxes of the 44 base categories
of the world of words: from the first stage alone, from both, and from both with shifted windows. Scored on held-out pictures,
all 56 names at once; the last detector also without the frozen transformer's scores. Below it, by chance: its boxes and scores
of one run after the other, each with a category drawn at random. The worlds of the published table:

  tools/make_world.py --kind words --output DIR --seed 41 --train-images 5000 --valid-images 10     (--train)
  tools/make_world.py --kind words --output DIR --seed 42 --train-images 1 --valid-images 300       (--test)

A seed changes first weights, order and crops of all stages. Runs that are done are not repeated.
"""

import argparse
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.world_study import ROOT, add_study_arguments, datasets_in, link_world, mean_and_spread, report, train
from dense.config import load_config
from dense.data.categories import word_split
from dense.data.datasets.images import resolve_instances
from dense.data.formats.image_results import read_detections
from dense.engine.launch import Process
from dense.engine.scoring import evaluate_model
from dense.evaluation.open_vocabulary import evaluate_open_vocabulary
from dense.io import read_json, write_json
from dense.modeling import build_model

__all__ = ["Study", "by_chance", "main"]

_CONFIGS = ROOT / "configs/dito"
_FIXED = ("MODEL.DITO.SWL.SHIFT", 0, "MODEL.DITO.SWL.SHIFT_FROZEN", 0)
_DETECTORS: dict[str, tuple[str, Sequence[object]]] = {
    "captions of images only": ("image", _FIXED),
    "+ region pretraining": ("region", _FIXED),
    "+ shifted windows": ("region", ()),
}
"""Rows: what the detector begins from, and its settings."""
_LAST = list(_DETECTORS)[-1]
_ALONE = ("MODEL.DITO.FUSION.SOURCE", "none")
_FIGURES = ("bbox/AP50_novel", "bbox/AP50_base", "bbox/AP50", "bbox/AP_novel", "bbox/AP_base", "bbox/AP", "segm/AP_novel")
_DRAWS = 10
_TEST_SET = "world_words_valid_instances"


class Study:
    """Trains and scores; everything goes below the output folder."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        link_world(options.train, options.output / "train", "world_words")
        link_world(options.test, options.output / "test", "world_words")

    def pretrained(self, stage: str, seed: int) -> Path:
        """Weights after "image" or "region"."""
        start = () if stage == "image" else ("MODEL.WEIGHTS", self.pretrained("image", seed))
        return self._train(f"world_{stage}", f"{stage}_{seed}", seed, start)

    def detector(self, name: str, seed: int) -> Path:
        """Weights of one row."""
        stage, extra = _DETECTORS[name]
        keys = ("MODEL.WEIGHTS", self.pretrained(stage, seed), "DATASETS.TEST", "()", *extra)
        return self._train("world_detector", self.folder(name, seed).name, seed, keys)

    def figures(self, name: str, seed: int, extra: Sequence[object] = ()) -> dict[str, float]:
        """Score a row's detector, with further settings of inference, unless that is done."""
        weights = self.detector(name, seed)
        output = weights.parent / ("scored_alone" if extra else "scored")
        known = output / "figures.json"
        if not known.exists():
            keys = ("MODEL.WEIGHTS", str(weights), "OUTPUT_DIR", str(output), *_DETECTORS[name][1], *extra)
            cfg = load_config(str(_CONFIGS / "world_detector.yaml"), keys)
            with datasets_in(self.options.output / "test"):
                write_json(known, evaluate_model(cfg, build_model(cfg).eval(), Process()))
        return {figure: float(read_json(known)[figure]) for figure in _FIGURES}

    def chance(self, seed: int) -> dict[str, float]:
        """See ``by_chance``, of the last row's results."""
        results = self.detector(_LAST, seed).parent / "scored" / "inference" / "results.json"
        annotations = self.options.test / "annotations/instances_valid.json"
        return by_chance(annotations, self.options.test / "images/valid", results, seed)

    def folder(self, name: str, seed: int) -> Path:
        """Where a row's files are."""
        return self.options.output / f"{name.strip('+ ').replace(' ', '_')}_{seed}"

    def _train(self, config: str, folder: str, seed: int, extra: Sequence[object]) -> Path:
        steps = ("SOLVER.MAX_ITER", self.options.steps) if self.options.steps else ()
        keys = ("SEED", seed, *steps, *extra)
        return train(_CONFIGS / f"{config}.yaml", self.options.output / folder, keys, self.options.output / "train")


def by_chance(annotations: Path, images: Path, results: Path, seed: int, draws: int = _DRAWS) -> dict[str, float]:
    """Figures of detections whose boxes and scores stay and whose categories are drawn, each of all alike, mean of some draws.

    Args:
        annotations: COCO file of the world of words.
        images: its folder of pictures.
        results: COCO detections.
        seed: of the draws.
        draws: how many.
    """
    dataset = resolve_instances(f"{annotations}:{images}").read()
    detections = read_detections(results, dataset)
    ids, rng, split = [category.id for category in dataset.categories], random.Random(seed), word_split("world_words")
    sums: dict[str, float] = dict.fromkeys(_FIGURES, 0.0)
    for _ in range(draws):
        drawn = [replace(detection, category_id=rng.choice(ids)) for detection in detections]
        for overlap in ("bbox", "segm"):
            found = evaluate_open_vocabulary(dataset, drawn, split, overlap)
            for figure in _FIGURES:
                kind, _, name = figure.partition("/")
                sums[figure] += found[name] if kind == overlap else 0.0
    return {figure: value / draws for figure, value in sums.items()}


def _row(name: str, runs: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    each = "  ".join(f"{run[_FIGURES[0]]:.1f}" for run in runs)
    return {"detector": name, **mean_and_spread(runs, _FIGURES), f"{_FIGURES[0]} of each seed": each}


def _rows(study: Study, seeds: Sequence[int]) -> list[dict[str, Any]]:
    rows = [_row(name, [study.figures(name, seed) for seed in seeds]) for name in _DETECTORS]
    rows.append(_row("  the last without frozen scores", [study.figures(_LAST, seed, _ALONE) for seed in seeds]))
    return [*rows, _row("  its boxes, words by chance", [study.chance(seed) for seed in seeds])]


def main(arguments: list[str] | None = None) -> int:
    """Train what is missing, score all, print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.world_words", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", type=Path, required=True, metavar="DIR", help="world of words to learn from")
    parser.add_argument("--test", type=Path, required=True, metavar="DIR", help="world whose validation pictures are scored")
    add_study_arguments(parser, "outputs/world_words")
    options = parser.parse_args(arguments)
    rows = _rows(Study(options), options.seeds)
    header = [
        "percent, mean and standard deviation over seeds; 44 categories with boxes in training, 12 (novel) in captions only.",
        f"by chance: categories of the detections drawn at random, mean of {_DRAWS} draws.",
        "python -m benchmarks.world_words --train DIR --test DIR",
    ]
    report(header, rows, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
