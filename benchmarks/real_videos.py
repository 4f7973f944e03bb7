"""``python -m benchmarks.real_videos --davis DIR --world DIR``: learn from all videos but one, score that one; each in turn.

``DIR`` of the first holds ``gt.json`` (YouTube-VIS form, one object a video), ``frames/`` and result files of others,
``results_NAME.json``; the second is a world of ``tools/make_world.py``. All objects are one category in training. For the
figures each prediction gets the category of its video, as the result files of others have it: the average over videos of
one category each. Runs that are done are not repeated; ``--steps`` makes them short.
"""

import argparse
import datetime
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dense.data.formats.video_results import ResultRecord, read_video_results
from dense.data.formats.video_splits import merge_categories, split_videos, video_names
from dense.data.formats.youtube_vis import VideoDataset, read_youtube_vis
from dense.errors import DataError, DenseError
from dense.evaluation.tube_iou import tube_iou
from dense.evaluation.video_instances import evaluate_video_instances
from dense.io import read_json, write_json

__all__ = ["best_and_first_iou", "main", "score"]

_ROOT = Path(__file__).resolve().parent.parent
_CONFIGS = {
    "ours, ImageNet backbone": "one_object_lite0",
    "ours, nothing pretrained": "one_object_lite0_scratch",
}


def best_and_first_iou(dataset: VideoDataset, records: Sequence[ResultRecord]) -> dict[str, tuple[float, float]]:
    """By name of video: spatio-temporal IoU of the best track and of the one with the highest score, in percent."""
    found = {}
    for video in dataset.videos:
        tracks = sorted((r for r in records if r.video_id == video.id), key=lambda r: -r.score)
        overlaps = tube_iou([r.segmentations for r in tracks], [t.segmentations for t in video.tracks], video.length)
        name = Path(video.file_names[0]).parent.name
        found[name] = (100 * float(overlaps.max()), 100 * float(overlaps[0, 0])) if tracks else (0.0, 0.0)
    return found


def score(method: str, ground_truth: Path, results: Path) -> dict[str, Any]:
    """One row of the table: AP, AP50, AP75, then mean and parts of the IoUs."""
    dataset = read_youtube_vis(ground_truth)
    figures = evaluate_video_instances(dataset, results)
    overlaps = best_and_first_iou(dataset, read_video_results(results, dataset))
    best, first = ([pair[i] for pair in overlaps.values()] for i in range(2))
    return {
        "method": method,
        **{name: float(figures[name]) for name in ("AP", "AP50", "AP75")},
        "IoU": sum(best) / len(best),
        "IoU of first": sum(first) / len(first),
        **{name: pair[0] for name, pair in overlaps.items()},
    }


def _fold(options: argparse.Namespace, name: str) -> Path:
    """Annotations of one way round: without the video, and only it."""
    folder = options.output / "folds" / name
    data = read_json(options.davis / "gt.json")
    for part, content in zip(("train", "valid"), split_videos(data, [name]), strict=True):
        write_json(folder / f"{part}.json", merge_categories(content, "object"))
    return folder


def _train(options: argparse.Namespace, config: str, name: str) -> Path:
    """Result file of one run, which is made if it is not there."""
    fold, output = _fold(options, name), options.output / config / name
    results = output / "inference" / "results.json"
    if (output / "model_final.safetensors").exists():
        return results
    real, world = options.davis / "frames", options.world / "train" / "JPEGImages"
    command = [sys.executable, str(_ROOT / "tools" / "train_net.py"), "--resume"]
    command += ["--config-file", str(_ROOT / "configs" / "real" / f"{config}.yaml"), "OUTPUT_DIR", str(output)]
    command += ["DATASETS.TRAIN", f"('{fold}/train.json:{real}', '{options.output}/world.json:{world}')"]
    command += ["DATASETS.TEST", f"('{fold}/valid.json:{real}',)"]
    if options.steps:
        command += ["SOLVER.MAX_ITER", str(options.steps)]
    print(f"== {config} without {name}", flush=True)
    if subprocess.run(command, check=False).returncode:
        raise DenseError(f"{output}: the training failed; see log.txt there.")
    return results


def _joined(options: argparse.Namespace, config: str, names: dict[int, str], categories: dict[int, int]) -> Path:
    """The runs of all ways round as one result file, each track under the category of its video."""
    records = []
    for identity, name in names.items():
        for record in read_json(_train(options, config, name)):
            records.append({**record, "video_id": identity, "category_id": categories[identity]})
    path = options.output / f"{config}.json"
    write_json(path, records)
    return path


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Lay the rows out in columns."""
    cells = [list(rows[0]), *([v if isinstance(v, str) else f"{v:.1f}" for v in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))) for line in cells
    ]


def main(arguments: list[str] | None = None) -> int:
    """Train what is missing, score all, print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_videos", description=__doc__)
    parser.add_argument("--davis", type=Path, required=True, metavar="DIR", help="gt.json, frames/, results_*.json")
    parser.add_argument("--world", type=Path, required=True, metavar="DIR", help="a world of tools/make_world.py")
    parser.add_argument("--output", type=Path, default=Path("outputs/real"), metavar="DIR", help="default %(default)s")
    parser.add_argument("--steps", type=int, metavar="N", help="shorter runs, to try it")
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file too")
    options = parser.parse_args(arguments)
    ground_truth = options.davis / "gt.json"
    dataset = read_youtube_vis(ground_truth)
    if any(len(video.tracks) != 1 for video in dataset.videos):
        raise DataError(f"{ground_truth}: expected one object in each video.")
    names = video_names(read_json(ground_truth))
    categories = {video.id: video.tracks[0].category_id for video in dataset.videos}
    world = options.output / "world.json"
    if not world.exists():
        write_json(world, merge_categories(read_json(options.world / "train.json"), "object"))

    rows = [
        score(path.stem.removeprefix("results_"), ground_truth, path) for path in sorted(options.davis.glob("results_*.json"))
    ]
    rows += [score(label, ground_truth, _joined(options, config, names, categories)) for label, config in _CONFIGS.items()]
    header = [
        "percent; IoU: spatio-temporal, of the best track of a video, mean of the videos and each of them; IoU of first:",
        "of the track with the highest score. osvos is shown the object in the first frame, the others find it themselves.",
        f"measured {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}",
    ]
    print("\n".join([*header, "", *table(rows)]))
    if options.json:
        write_json(options.json, {"header": header, "table": table(rows), "rows": rows}, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
