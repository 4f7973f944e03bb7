"""Scoring of a model on federated sets and on sets with novel categories, through the engine."""

from pathlib import Path

import pytest

from dense.config.loading import load_config
from dense.data.categories import word_split
from dense.data.datasets import find_dataset
from dense.data.world import make_word_world
from dense.engine.launch import Process
from dense.engine.scoring import evaluate_model, find_scorer
from dense.evaluation import evaluate_lvis, evaluate_open_vocabulary

from .test_detection_runs import Oracle

CONFIG = Path(__file__).resolve().parents[3] / "configs" / "pixpro" / "transfer" / "world_mask_rcnn.yaml"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("datasets")
    make_word_world(folder / "world_words", train_images=1, valid_images=16, size=(64, 96), workers=1)
    return folder


@pytest.fixture
def configured(root, tmp_path, monkeypatch):
    """Function from the name of a test set to a configuration of a detector."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(root))
    return lambda name: load_config(
        CONFIG, ["DATASETS.TEST", f"('{name}',)", "OUTPUT_DIR", str(tmp_path), "MODEL.ROI_HEADS.NUM_CLASSES", 56]
    )


class NearlyOracle(Oracle):
    """Knows the answer, but takes the class of every third object for the next one."""

    def forward(self, batch):
        (answer,) = super().forward(batch)
        found = answer["instances"]
        found.pred_classes[::3] = (found.pred_classes[::3] + 1) % len(self.dataset.categories)
        return [answer]


def test_evaluate_model__federated_set__lvis_fixed_and_novel_figures(configured, tmp_path):
    """Catches a kind that cannot be scored, figures of another protocol, and parts that are swapped."""
    truth = find_dataset("world_words_valid", "image_federated").read()
    figures = evaluate_model(configured("world_words_valid"), NearlyOracle(truth.objects), Process())
    written = tmp_path / "inference" / "results.json"
    lvis = evaluate_lvis(truth, written, "segm")
    assert 20 < lvis["AP"] < 100
    for name in ("AP", "APr", "APc", "APf"):
        assert figures[f"segm/{name}"] == pytest.approx(lvis[name])
        assert figures[f"segm/fixed_{name}"] == pytest.approx(lvis[name])  # far fewer than 300 an image
    boxes = evaluate_open_vocabulary(truth, written, word_split("world_words"), "bbox")
    for name in ("AP_novel", "AP_base", "AP50_novel", "AP50_base"):
        assert figures[f"bbox/{name}"] == pytest.approx(boxes[name])
    assert figures["segm/APr"] == pytest.approx(figures["segm/AP_novel"])


def test_evaluate_model__instances_with_novel_categories__both_parts(configured):
    """Catches novel categories that are scored together with the others only."""
    dataset = find_dataset("world_words_valid_instances", "image_instance").read()
    figures = evaluate_model(configured("world_words_valid_instances"), Oracle(dataset), Process())
    for name in ("AP", "AP50_novel", "AP50_base", "AP_novel"):
        assert figures[f"bbox/{name}"] == pytest.approx(100.0)


def test_find_scorer__captions__not_a_test_set():
    """Catches a foreign error for a set that nothing can be scored on."""
    with pytest.raises(ValueError, match="cannot be scored"):
        find_scorer("world_words_captions", "image_captions")
