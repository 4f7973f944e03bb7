"""``python -m benchmarks.world_tracking --train DIR --test DIR --segmenter FILE``: each idea of DVIS++ on the world.

Trains the tracker plainly, with denoising, with denoising and contrast, and the refiner over the last, from one cache of
segmented clips (made if it is not there), and scores them and MinVIS matching on the same segmenter. The folders are worlds
of ``tools/make_world.py``; those of the published table:

  tools/make_world.py --output DIR --seed 11 --train-videos 800 --valid-videos 4 --crowded 0.5       (--train)
  tools/make_world.py --output DIR --seed 2028 --train-videos 0 --valid-videos 40 --crowded 1        (--test)

Test frames are segmented once; all rows get the same numbers. Runs that are done are not repeated.
"""

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.world_study import ROOT, add_study_arguments, datasets_in, link_world, mean_and_spread, report, run_tool
from dense.config import load_config
from dense.engine.launch import Process
from dense.engine.scoring import evaluate_model
from dense.io import read_json, write_json
from dense.modeling import build_model
from dense.modeling.predictions import DecoderOutput

__all__ = ["RememberedSegmenter", "main", "summary"]

_PLAIN = ["MODEL.TRACKER.NOISE_MODE", "NoNoise"]
_ALONE = ["MODEL.TRACKER.USE_CL", False, "MODEL.REFINER.USE_CL", False]  # the online model's contrast needs both
_TRACKERS: dict[str, list[Any]] = {
    "tracker": [*_PLAIN, *_ALONE],
    "tracker, denoising": _ALONE,
    "tracker, denoising, contrast": [],
}
_REFINER = "refiner over the last"
_MATCHING = {"MinVIS matching": "FrameAssociation", "matching with a memory": "MemoryAssociation"}
_FIGURES = ("AP", "AP50", "AP75")


class RememberedSegmenter(nn.Module):
    """Stands for backbone and head of a model; each frame is segmented once, for whatever model asks."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head
        self._known: dict[bytes, tuple[Tensor, Tensor]] = {}

    @torch.no_grad()
    def forward(self, images: Tensor) -> DecoderOutput:
        """Input of the network ``(T, 3, H, W)`` → the final prediction and embeddings."""
        parts = [self._frame(image) for image in images]
        queries, features = (torch.stack(part) for part in zip(*parts, strict=True))
        return self.head.predictor.restored(queries, features)

    def _frame(self, image: Tensor) -> tuple[Tensor, Tensor]:
        key = hashlib.sha256(image.numpy().tobytes()).digest()
        if key not in self._known:
            output = self.head(self.backbone(image[None]))
            self._known[key] = (output.embeddings_without_norm[0, :, : self.head.predictor.width], output.mask_features[0])
        return self._known[key]


class Study:
    """Trains and scores; everything goes below the output folder."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.segmenter: RememberedSegmenter | None = None

    def tracker(self, name: str, seed: int) -> Path:
        """Weights of one tracker."""
        return self._train("online_lite0", name, seed, _TRACKERS[name], self.options.segmenter)

    def refiner(self, seed: int) -> Path:
        """Weights of a refiner over the best tracker of the same seed."""
        return self._train("offline_lite0", _REFINER, seed, [], self.tracker(list(_TRACKERS)[-1], seed))

    def score(self, config: str, weights: Path, output: Path, extra: Sequence[Any] = ()) -> dict[str, float]:
        """Figures on the held-out videos."""
        known = output / "figures.json"
        if not known.exists():
            keys = ["MODEL.WEIGHTS", str(weights), "OUTPUT_DIR", str(output), *extra]
            cfg = load_config(str(ROOT / "configs" / "world" / f"{config}.yaml"), keys)
            model = build_model(cfg).eval()
            if self.segmenter is None:
                self.segmenter = RememberedSegmenter(model.backbone, model.sem_seg_head)
            model.backbone, model.sem_seg_head = nn.Identity(), self.segmenter
            with datasets_in(self.options.output / "test"):
                write_json(known, evaluate_model(cfg, model, Process()))
        return {name: float(read_json(known)[name]) for name in _FIGURES}

    def folder(self, name: str, seed: int | None = None) -> Path:
        """Where a row's files are."""
        short = name.replace(", ", "_").replace(" ", "_")
        return self.options.output / (short if seed is None else f"{short}_{seed}")

    def cache(self) -> Path:
        """The segmented clips, which are made if they are not there or not complete."""
        folder = self.options.output / "cache"
        config = ["--config-file", str(ROOT / "configs" / "world" / "online_lite0.yaml")]
        what = ["--output", str(folder), "--copies", str(self.options.copies), "MODEL.WEIGHTS", str(self.options.segmenter)]
        run_tool("cache_segmenter.py", [*config, *what], self.options.output / "train")
        return folder

    def _train(self, config: str, name: str, seed: int, extra: Sequence[Any], weights: Path) -> Path:
        output = self.folder(name, seed)
        final = output / "model_final.safetensors"
        if not final.exists():
            print(f"== {name}, seed {seed}", flush=True)
            command = ["--resume", "--config-file", str(ROOT / "configs" / "world" / f"{config}.yaml")]
            command += ["MODEL.WEIGHTS", str(weights), "OUTPUT_DIR", str(output), "SEED", str(seed), *map(str, extra)]
            command += ["DATASETS.CACHE", str(self.cache()), "DATASETS.TEST", "()"]
            if self.options.steps:
                command += ["SOLVER.MAX_ITER", str(self.options.steps)]
            run_tool("train_net.py", command, self.options.output / "train")
        return final


def summary(name: str, runs: Sequence[dict[str, float]]) -> dict[str, Any]:
    """One row: mean and sample standard deviation of each figure, and the AP of each run."""
    each = "  ".join(f"{run['AP']:.1f}" for run in runs)
    return {"": name, **mean_and_spread(runs, _FIGURES), "AP of each seed": each}


def _rows(study: Study, seeds: Sequence[int]) -> list[dict[str, Any]]:
    segmenter = study.options.segmenter
    rows = [
        summary(name, [study.score("ctvis_lite0", segmenter, study.folder(name), ["MODEL.ASSOCIATION.NAME", association])])
        for name, association in _MATCHING.items()
    ]
    for name in _TRACKERS:
        runs = [study.score("online_lite0", study.tracker(name, seed), study.folder(name, seed)) for seed in seeds]
        rows.append(summary(name, runs))
    runs = [study.score("offline_lite0", study.refiner(seed), study.folder(_REFINER, seed)) for seed in seeds]
    return [*rows, summary(_REFINER, runs)]


def main(arguments: list[str] | None = None) -> int:
    """Train what is missing, score all, print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.world_tracking", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", type=Path, required=True, metavar="DIR", help="world to learn from")
    parser.add_argument("--test", type=Path, required=True, metavar="DIR", help="world whose validation videos are scored")
    parser.add_argument(
        "--segmenter", type=Path, required=True, metavar="FILE", help="weights of configs/world/ctvis_lite0.yaml"
    )
    add_study_arguments(parser, "outputs/world_tracking")
    parser.add_argument("--copies", type=int, default=2, metavar="K", help="of each clip in the cache (default %(default)s)")
    options = parser.parse_args(arguments)
    options.segmenter = options.segmenter.resolve()
    for name in ("train", "test"):
        link_world(getattr(options, name), options.output / name, "world")
    rows = _rows(Study(options), options.seeds)
    header = [
        "percent, mean and standard deviation over seeds, which change order, noise and first weights of tracker and refiner;",
        "the segmenter is the same for all. python -m benchmarks.world_tracking --train DIR --test DIR --segmenter FILE",
    ]
    report(header, rows, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
