"""evaluate_model on panoptic and semantic videos: a model that knows the answer, its files against the evaluation command."""

import json
import pickle
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dense.config.loading import load_config
from dense.data.datasets import find_dataset
from dense.data.datasets.video_maps import things_first
from dense.data.formats.vspw import IGNORE_LABEL
from dense.data.world.map_writer import make_map_world
from dense.data.world.parameters import WorldParameters
from dense.engine.launch import Process
from dense.engine.scoring import evaluate_model
from dense.errors import ConfigError, DataError
from dense.evaluation.command import main as evaluate
from dense.modeling.video import QueryWindow
from dense.projects.dvis.results import PanopticResults, SemanticResults

SIZE = (64, 96)
TINY = Path(__file__).resolve().parents[2] / "data" / "configs" / "tiny.yaml"
KINDS = {"vipseg": "video_panoptic", "vspw": "video_semantic"}
THINGS = frozenset(range(14))


class Oracle(nn.Module):
    """Knows the maps of the videos, by their first frame; regions of ``wrong`` classes get the next class."""

    window = 3

    def __init__(self, layout, wrong=()):
        super().__init__()
        self.results = (
            PanopticResults(things=THINGS, object_threshold=0.5, overlap_threshold=0.8)
            if layout == "vipseg"
            else SemanticResults()
        )
        dataset = find_dataset(f"world_{layout}_val", KINDS[layout]).read()
        self.classes, self.wrong, self.known, self.asked = things_first(dataset.categories), frozenset(wrong), {}, 0
        for video in dataset.videos:
            frames = range(video.length)
            if layout == "vipseg":
                maps = np.stack([dataset.ids(video, t) for t in frames])
                labels = {s.id: self.classes[s.category_id] for t in frames for s in video.frames[t].segments}
            else:
                maps = np.stack([dataset.labels(video.frames[t]) for t in frames])
                labels = {k: self.classes[k] for k in np.unique(maps).tolist() if k != IGNORE_LABEL}
            self.known[self._key(dataset.frame_path(video, 0))] = (maps, labels)

    def _key(self, path):
        from PIL import Image

        return np.asarray(Image.open(path)).tobytes()

    def start(self):
        self.asked += 1
        return None

    def step(self, frames, state):
        if state is None:
            state = self.known[frames[0].permute(1, 2, 0).numpy().tobytes()], 0
        (maps, labels), first = state
        part = torch.from_numpy(maps[first : first + len(frames)])
        masks = torch.stack([(part == region).float() * 18 - 9 for region in labels])
        logits = torch.full((len(labels), 20), -20.0)
        for q, label in enumerate(labels.values()):
            logits[q, (label + 1) % 19 if label in self.wrong else label] = 20.0
        window = QueryWindow(logits.expand(len(frames), -1, -1), masks, SIZE, SIZE)
        return window, ((maps, labels), first + len(frames))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The world in both layouts: two test videos of seven frames."""
    folder = tmp_path_factory.mktemp("datasets")
    for layout in KINDS:
        make_map_world(folder / f"world_{layout}", layout, WorldParameters(5, 1, 2, 7, *SIZE, 4), workers=1)
    return folder


@pytest.fixture
def configured(root, monkeypatch, tmp_path):
    """Function from a layout and KEY VALUE words to a configuration."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(root))

    def make(layout, *words):
        options = ["DATASETS.TEST", f"('world_{layout}_val',)", "DATASETS.TRAIN", f"('world_{layout}_train',)"]
        options += ["DATASETS.DATASET_TYPE", f"['{KINDS[layout]}']", "MODEL.SEM_SEG_HEAD.NUM_CLASSES", "19"]
        options += ["MODEL.MASK_FORMER.TEST.TASK", "vps" if layout == "vipseg" else "vss", "OUTPUT_DIR", str(tmp_path)]
        return load_config(TINY, [*options, *words])

    return make


def evaluated(root, layout, results, scores):
    """What the evaluation command says of the files."""
    if layout == "vipseg":
        words = [
            "video-panoptic",
            "--gt",
            root / "world_vipseg/panoptic_gt_VIPSeg_val.json",
            "--predictions",
            results / "pred.json",
        ]
    else:
        words = ["video-semantic", "--gt", root / "world_vspw/data", "--split", root / "world_vspw/val.txt"]
        words += ["--predictions", results / "semantic", "--num-classes", 19]
    assert evaluate(["--task", *map(str, words), "--json", str(scores)]) == 0
    return {k: v for k, v in json.loads(scores.read_text()).items() if isinstance(v, float | int)}


@pytest.mark.parametrize(("layout", "figure"), [("vipseg", "VPQ"), ("vspw", "mIoU")])
def test_evaluate_model__model_that_knows_the_answer__gets_100(configured, layout, figure):
    """Catches classes by id instead of things first, ids that change from frame to frame, and maps of another frame."""
    figures = evaluate_model(configured(layout), Oracle(layout), Process())
    assert figures[figure] == pytest.approx(100.0)
    assert not any(isinstance(value, dict) for value in figures.values())


@pytest.mark.parametrize(("layout", "figure"), [("vipseg", "VPQ"), ("vspw", "mIoU")])
def test_evaluate_model__model_with_errors__same_figures_as_the_command_on_its_files(
    configured, root, tmp_path, layout, figure
):
    """Catches figures of something else than what was written, and a written form that the command reads otherwise."""
    figures = evaluate_model(configured(layout), Oracle(layout, wrong={3, 5, 14, 16}), Process())
    assert 5 < figures[figure] < 95
    assert figures == pytest.approx(evaluated(root, layout, tmp_path / "inference", tmp_path / "scores.json"))


class Together(Process):
    """One of several processes, as threads of this one."""

    shared = None

    def gather(self, items):
        lists, barrier = self.shared
        lists[self.rank] = pickle.dumps(items)
        barrier.wait()
        out = [item for rank in sorted(lists) for item in pickle.loads(lists[rank])]  # noqa: S301  our own
        barrier.wait()
        return out

    def barrier(self):
        self.shared[1].wait()


@pytest.mark.parametrize("layout", KINDS)
@pytest.mark.parametrize("world_size", [2, 3])
def test_evaluate_model__several_processes__share_the_videos(configured, tmp_path, layout, world_size):
    """Catches videos that two processes predict or nobody does, counts lost in merging, and a process that removes files."""
    alone = evaluate_model(configured(layout, "OUTPUT_DIR", str(tmp_path / "alone")), Oracle(layout, {3, 14}), Process())
    shared = ({}, threading.Barrier(world_size, timeout=60))
    cfg, found, oracles = configured(layout, "OUTPUT_DIR", str(tmp_path / "shared")), {}, {}

    def work(rank):
        process = Together(rank, world_size)
        object.__setattr__(process, "shared", shared)
        oracles[rank] = Oracle(layout, {3, 14})
        found[rank] = evaluate_model(cfg, oracles[rank], process)

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(world_size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == pytest.approx(alone)
    assert [found[rank] for rank in range(1, world_size)] == [{}] * (world_size - 1)
    assert sorted(oracle.asked for oracle in oracles.values()) == [0] * (world_size - 2) + [1, 1]
    files = [{p.relative_to(tmp_path / w): p.read_bytes() for p in (tmp_path / w).rglob("*.*")} for w in ("alone", "shared")]
    assert files[0].keys() == files[1].keys()
    assert all(files[0][path] == files[1][path] for path in files[0])


@pytest.mark.parametrize("layout", KINDS)
def test_evaluate_model__killed_half_way__results_of_the_last_evaluation_stay_whole(configured, root, tmp_path, layout):
    """Catches a folder with videos of two models, which the evaluation command would score without a word."""
    before = evaluate_model(configured(layout), Oracle(layout, wrong={3, 5}), Process())
    killed = Oracle(layout)
    step, calls = killed.step, iter(range(100))

    def fails(frames, state):
        if next(calls) == 4:  # in the second video
            raise KeyboardInterrupt
        return step(frames, state)

    killed.step = fails
    with pytest.raises(KeyboardInterrupt):
        evaluate_model(configured(layout), killed, Process())
    assert list((tmp_path / "inference" / "unfinished").rglob("*.png"))
    assert evaluated(root, layout, tmp_path / "inference", tmp_path / "scores.json") == pytest.approx(before)
    after = evaluate_model(configured(layout), Oracle(layout), Process())
    assert not (tmp_path / "inference" / "unfinished").exists()
    assert evaluated(root, layout, tmp_path / "inference", tmp_path / "scores.json") == pytest.approx(after)


@pytest.mark.parametrize(("layout", "other"), [("vipseg", "vspw"), ("vspw", "vipseg")])
def test_evaluate_model__model_of_another_task__names_the_key(configured, layout, other):
    """Catches an error about missing maps after an hour of prediction."""
    with pytest.raises(ConfigError, match=r"TEST\.TASK: 'v[ps]s', but test set 'world_\w+_val' needs 'v[ps]s'"):
        evaluate_model(configured(layout), Oracle(other), Process())


def test_evaluate_model__more_classes_than_the_set__is_one_line(configured):
    """Catches an IndexError when a class is written."""
    with pytest.raises(DataError, match="19 categories, but the model has 20 classes"):
        evaluate_model(configured("vspw", "MODEL.SEM_SEG_HEAD.NUM_CLASSES", "20"), Oracle("vspw"), Process())


@pytest.mark.parametrize("layout", KINDS)
def test_evaluate_model__no_annotations__files_and_no_figures(configured, root, tmp_path, monkeypatch, layout):
    """Catches test sets without public annotations that cannot be predicted for their server."""
    oracle = Oracle(layout)
    shutil.copytree(root / f"world_{layout}", tmp_path / "data" / f"world_{layout}")
    if layout == "vipseg":
        path = tmp_path / "data/world_vipseg/panoptic_gt_VIPSeg_val.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "annotations": None}))
    else:
        for masks in (tmp_path / "data/world_vspw/data").glob("*/mask"):
            shutil.rmtree(masks)
    cfg = configured(layout)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "data"))
    assert evaluate_model(cfg, oracle, Process()) == {}
    assert len(list((tmp_path / "inference").rglob("*.png"))) == 14


@pytest.mark.parametrize(("layout", "written"), [("vipseg", "pred.json"), ("vspw", "semantic")])
def test_train_command__eval_only__scores_and_writes(train, root, monkeypatch, tmp_path, layout, written):
    """Catches a kind of data set that the command line does not know, from the configuration's words to the files."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(root))
    words = ["DATASETS.TEST", f"('world_{layout}_val',)", "DATASETS.TRAIN", f"('world_{layout}_train',)"]
    words += ["MODEL.SEM_SEG_HEAD.NUM_CLASSES", 19, "MODEL.MASK_FORMER.TEST.TASK", "vps" if layout == "vipseg" else "vss"]
    words += ["DATASETS.DATASET_TYPE", f"['{KINDS[layout]}']", "OUTPUT_DIR", tmp_path, "SOLVER.MAX_ITER", 1]
    done = train(*words, "TEST.EVAL_PERIOD", 1)
    assert done.status == 0, done.err
    assert (tmp_path / "inference" / written).exists()
    trained = [line for line in done.out if "world_" in line and ("VPQ_1" in line or "mIoU" in line)]
    done = train(*words, "--eval-only", "MODEL.WEIGHTS", tmp_path / "model_final.safetensors")
    assert done.status == 0, done.err
    assert trained
    again = [line for line in done.out if "world_" in line and ("VPQ_1" in line or "mIoU" in line)]
    assert [line.split(" ", 1)[1] for line in again] == [line.split(" ", 1)[1] for line in trained[-1:]]
