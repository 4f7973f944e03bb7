"""Training and scoring of image segmenters: a model that knows the answer must get 100 in each task."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dense.config.loading import load_config
from dense.data.datasets import find_dataset
from dense.data.world import make_image_world
from dense.engine.launch import Process
from dense.engine.scoring import evaluate_model
from dense.errors import ConfigError
from dense.evaluation import evaluate_instances, evaluate_panoptic, evaluate_semantic
from dense.modeling.postprocess import Instances, PanopticSegment
from dense.structures.rle import decode

ROOT = Path(__file__).resolve().parents[3]
TINY = ROOT / "tests" / "data" / "configs" / "tiny_image.yaml"
TASKS = {"instance": "world_images_valid", "panoptic": "world_images_valid_panoptic", "semantic": "world_images_valid_semantic"}


@pytest.fixture(scope="module")
def image_data(tmp_path_factory):
    """A root of data sets with a world of 4 + 3 pictures, 64 x 96 pixels."""
    root = tmp_path_factory.mktemp("datasets")
    make_image_world(root / "world_images", train_images=4, valid_images=3, size=(64, 96), workers=1)
    return root


@pytest.fixture
def configured(image_data, monkeypatch, tmp_path):
    """Function from KEY VALUE words to a configuration over the tiny world."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(image_data))
    return lambda *words: load_config(TINY, ["OUTPUT_DIR", str(tmp_path), *words])


class Oracle(nn.Module):
    """Answers with the ground truth of a data set's images, in the order in which they are asked for."""

    def __init__(self, dataset, task):
        super().__init__()
        self.dataset, self.task, self.tasks = dataset, task, frozenset({task})
        self.images = iter(dataset.images)

    def forward(self, batch):
        (record,) = batch
        size = record["height"], record["width"]
        return [getattr(self, self.task)(next(self.images), size)]

    def instance(self, image, size):
        masks = torch.from_numpy(np.stack([decode(item.segmentation) for item in image.objects]))
        labels = torch.tensor([self.dataset.contiguous_id(item.category_id) for item in image.objects])
        return {"instances": Instances(torch.linspace(0.5, 0.9, len(labels)), labels, masks)}

    def panoptic(self, image, size):
        classes = [(s.id, self.dataset.contiguous_id(s.category_id)) for s in image.segments]
        segments = [PanopticSegment(i, label in self.dataset.things, label) for i, label in classes]
        return {"panoptic_seg": (torch.from_numpy(self.dataset.ids(image)), segments)}

    def semantic(self, image, size):
        labels = torch.from_numpy(self.dataset.labels(image, size)).long()
        labels[labels == 255] = 0
        return {"sem_seg": torch.nn.functional.one_hot(labels, 19).permute(2, 0, 1).float()}


@pytest.mark.parametrize(("task", "figure"), [("instance", "AP"), ("panoptic", "PQ"), ("semantic", "mIoU")])
def test_evaluate_model__model_that_knows_the_answer__gets_100(configured, tmp_path, task, figure):
    """Catches images mixed up, classes shifted by one, results at another size; the files score the same."""
    name = TASKS[task]
    dataset = find_dataset(name, f"image_{task}").read()
    figures = evaluate_model(configured("DATASETS.TEST", f"('{name}',)"), Oracle(dataset, task), Process())
    assert figures[figure] == pytest.approx(100.0)
    folder = tmp_path / "inference"
    again = {
        "instance": lambda: evaluate_instances(dataset, folder / "results.json"),
        "panoptic": lambda: evaluate_panoptic(dataset, None, folder / "panoptic.json"),
        "semantic": lambda: evaluate_semantic(dataset.path, folder / "semantic", 19),
    }[task]()
    assert again[figure] == pytest.approx(100.0)


def test_evaluate_model__two_kinds_of_sets__each_scored_by_its_own_part(configured, tmp_path):
    """Catches sets of different kinds that share a folder or an evaluator."""
    cfg = configured(
        "DATASETS.TEST", f"('{TASKS['instance']}', '{TASKS['panoptic']}')", "DATASETS.DATASET_TYPE_TEST", "['image_instance']"
    )
    sets = [find_dataset(TASKS[task], f"image_{task}").read() for task in ("instance", "panoptic")]

    class Both(Oracle):
        def __init__(self):
            super().__init__(sets[0], "instance")
            self.tasks = frozenset({"instance", "panoptic"})
            self.parts = iter([Oracle(sets[0], "instance")] * 3 + [Oracle(sets[1], "panoptic")] * 3)

        def forward(self, batch):
            return next(self.parts)(batch)

    figures = evaluate_model(cfg, Both(), Process())
    assert figures["world_images_valid/AP"] == pytest.approx(100.0)
    assert figures["world_images_valid_panoptic/PQ"] == pytest.approx(100.0)
    assert (tmp_path / "inference" / "world_images_valid" / "results.json").is_file()


def test_evaluate_model__task_switched_off__names_the_key(configured):
    """Catches an empty result that is scored as 0."""
    dataset = find_dataset(TASKS["panoptic"], "image_panoptic").read()
    with pytest.raises(ConfigError, match="PANOPTIC_ON"):
        evaluate_model(configured(), Oracle(dataset, "semantic"), Process())


@pytest.mark.parametrize(
    ("task", "classes", "figure"), [("instance", 14, "AP"), ("panoptic", 19, "PQ"), ("semantic", 19, "mIoU")]
)
def test_train__image_world__trains_and_scores_each_task(train, configured, tmp_path, task, classes, figure):
    """Catches a task whose training and scoring do not fit together."""
    configured()  # sets DETECTRON2_DATASETS after `train` has
    valid = TASKS[task]
    words = ["DATASETS.TRAIN", f"('{valid.replace('valid', 'train')}',)", "DATASETS.TEST", f"('{valid}',)"]
    words += ["MODEL.SEM_SEG_HEAD.NUM_CLASSES", classes, "OUTPUT_DIR", tmp_path / "run", "SOLVER.MAX_ITER", 2]
    words += [w for t in TASKS for w in (f"MODEL.MASK_FORMER.TEST.{t.upper()}_ON", t == task)]
    outcome = train(*words, config=TINY)
    assert outcome.status == 0, outcome.err
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.json").read_text().splitlines()]
    assert f"test/{figure}" in lines[-1]
    outcome = train("--eval-only", *words, "MODEL.WEIGHTS", tmp_path / "run" / "model_final.safetensors", config=TINY)
    assert outcome.status == 0, outcome.err
    assert any(figure in line for line in outcome.out)


@pytest.mark.parametrize("task", TASKS)
def test_load_config__world_configuration__builds_the_model_of_its_task(task):
    """Catches a configuration that switches on another task, or whose classes do not fit its data set."""
    cfg = load_config(ROOT / "configs" / "world" / f"mask2former_lite0_{task}.yaml", ["MODEL.TIMM.WEIGHTS", ""])
    assert cfg.MODEL.MASK_FORMER.TEST[f"{task.upper()}_ON"]
    assert (TASKS[task],) == cfg.DATASETS.TEST
    source = find_dataset(TASKS[task], f"image_{task}")
    assert len(source.category_names) == cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
