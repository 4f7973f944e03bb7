"""Detectors through the command line: training, resuming, scoring of boxes and masks, files and pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from PIL import Image
from torch import nn

from dense.config.loading import load_config
from dense.data.datasets import find_dataset
from dense.data.world import make_image_world
from dense.engine.command import main
from dense.engine.launch import Process
from dense.engine.scoring import evaluate_model
from dense.evaluation import evaluate_instances
from dense.inference.image_files import ImageFiles
from dense.inference.image_predictor import ImagePredictor
from dense.structures.rle import decode

CONFIG = Path(__file__).resolve().parents[3] / "configs" / "pixpro" / "transfer" / "world_mask_rcnn.yaml"
SMALL = {
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 8,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 8,
    "MODEL.FPN.OUT_CHANNELS": 16,
    "MODEL.ROI_BOX_HEAD.CONV_DIM": 16,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 16,
    "MODEL.ROI_MASK_HEAD.CONV_DIM": 16,
    "INPUT.MIN_SIZE_TRAIN": "(48, 64)",
    "INPUT.MIN_SIZE_TEST": 64,
    "SOLVER.IMS_PER_BATCH": 2,
    "SOLVER.LOG_PERIOD": 1,
    "SOLVER.CHECKPOINT_PERIOD": 2,
    "SOLVER.MAX_ITER": 4,
    "DATASETS.TRAIN": "('world_images_train@3',)",
}


@pytest.fixture(scope="module")
def image_data(tmp_path_factory):
    """A root of data sets with a world of 4 + 2 pictures, 64 x 96 pixels."""
    root = tmp_path_factory.mktemp("datasets")
    make_image_world(root / "world_images", train_images=4, valid_images=2, size=(64, 96), workers=1)
    return root


@pytest.fixture
def words(image_data, monkeypatch):
    """Function from changes to the KEY VALUE words of a small detector over the tiny world."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(image_data))
    return lambda folder, **changes: [
        str(word)
        for pair in {**SMALL, "OUTPUT_DIR": folder, **{k.replace("__", "."): v for k, v in changes.items()}}.items()
        for word in pair
    ]


def losses(folder):
    """The losses of each step that was written, but for figures of tests."""
    rows = [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]
    return {row["iteration"]: row["total_loss"] for row in rows if "total_loss" in row}


def test_main__detector_stopped_and_resumed__losses_of_an_unbroken_run_and_results(words, tmp_path):
    """Catches random draws outside the step's seed, and results of another form than COCO's."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main(["--config-file", str(CONFIG), *words(whole)]) == 0
    assert main(["--config-file", str(CONFIG), "--stop-after", "2", *words(parts)]) == 0
    assert main(["--config-file", str(CONFIG), "--resume", *words(parts)]) == 0
    assert losses(whole) == losses(parts)
    assert sorted(losses(whole)) == [1, 2, 3, 4]
    last = json.loads((whole / "metrics.json").read_text().splitlines()[-1])
    assert "test/bbox/AP" in last
    assert "test/segm/AP" in last
    for record in json.loads((whole / "inference" / "results.json").read_text()):
        assert set(record) == {"image_id", "category_id", "score", "bbox", "segmentation"}
    weights = ["MODEL.WEIGHTS", str(whole / "model_final.safetensors")]
    assert main(["--config-file", str(CONFIG), "--eval-only", *words(tmp_path / "again"), *weights]) == 0


class Oracle(nn.Module):
    """Answers as a detector of Detectron2's, with the ground truth in the order in which images are asked for."""

    tasks = frozenset({"instance"})

    def __init__(self, dataset, masks=True):
        super().__init__()
        self.dataset, self.masks = dataset, masks
        self.images = iter(dataset.images)

    def forward(self, batch):
        (record,) = batch
        objects = next(self.images).objects
        boxes = torch.tensor([item.box for item in objects])
        found = Instances((record["height"], record["width"]))
        found.pred_boxes = Boxes(torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1))
        found.scores = torch.linspace(0.5, 0.9, len(objects))
        found.pred_classes = torch.tensor([self.dataset.contiguous_id(item.category_id) for item in objects])
        if self.masks:
            found.pred_masks = torch.from_numpy(np.stack([decode(item.segmentation) for item in objects]))
        return [{"instances": found}]


@pytest.mark.parametrize("masks", [True, False])
def test_evaluate_model__detector_that_knows_the_answer__gets_100(words, tmp_path, masks):
    """Catches corners taken for sizes, boxes of masks instead of the model's, masks asked of one without."""
    cfg = load_config(CONFIG, words(tmp_path, MODEL__MASK_ON=masks))
    dataset = find_dataset("world_images_valid", "image_instance").read()
    figures = evaluate_model(cfg, Oracle(dataset, masks), Process())
    assert figures["bbox/AP"] == pytest.approx(100.0)
    assert ("segm/AP" in figures) == masks
    assert figures.get("segm/AP", 100.0) == pytest.approx(100.0)
    written = tmp_path / "inference" / "results.json"
    assert evaluate_instances(dataset, written, "bbox")["AP"] == pytest.approx(100.0)


@pytest.mark.parametrize("masks", [True, False])
def test_image_files__result_of_a_detector__drawn_and_written(words, tmp_path, masks):
    """Catches pictures without boxes, and files that fail where there are no masks."""
    words(tmp_path)
    dataset = find_dataset("world_images_valid", "image_instance").read()
    image = np.asarray(Image.open(dataset.image_path(dataset.images[0])).convert("RGB"))
    result = ImagePredictor(Oracle(dataset, masks), categories=dataset.category_names).predict(image)
    ImageFiles(tmp_path / "a.png").write(image, result, "a")
    record = json.loads((tmp_path / "a.json").read_text())
    truth = sorted([*map(float, item.box)] for item in dataset.images[0].objects)
    assert np.allclose(sorted(entry["bbox"] for entry in record["objects"]), truth)
    assert all(("rle" in entry) == masks for entry in record["objects"])
    drawn = np.asarray(Image.open(tmp_path / "a.png"))
    x, y, width, height = (int(v) for v in result.boxes[0])
    edge = drawn[min(y + height // 2, 63), min(x + width, 95) - 1 : min(x + width, 95) + 1]
    assert not np.array_equal(edge, image[min(y + height // 2, 63), min(x + width, 95) - 1 : min(x + width, 95) + 1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"MODEL__ROI_HEADS__NUM_CLASSES": 5}, "MODEL.ROI_HEADS.NUM_CLASSES: 5, but data set"),
        ({"DATASETS__TRAIN": "('world_images_train@900',)"}, "has 4 images, fewer than 900"),
        ({"DATASETS__TRAIN": "('world_images_train@0',)"}, "expected @1 or more"),
        ({"DATASETS__TRAIN": "('world_images_train_semantic',)"}, "learns from 'image_instance' sets only"),
    ],
)
def test_main__wrong_data_for_a_detector__one_line(words, tmp_path, capsys, changes, message):
    """Catches a run that starts with classes that do not exist, or fails in foreign words."""
    assert main(["--config-file", str(CONFIG), *words(tmp_path / "run", **changes)]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


VOC_XML = """<annotation><size><width>96</width><height>64</height></size><object><name>dog</name>
<bndbox><xmin>11</xmin><ymin>5</ymin><xmax>40</xmax><ymax>34</ymax></bndbox></object></annotation>"""


def test_evaluate_model__pascal_voc__scored_by_its_own_rules(tmp_path, monkeypatch):
    """Catches COCO's figures for VOC, and boxes off by the pixel that VOC counts from."""
    root = tmp_path / "VOC2007"
    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (root / folder).mkdir(parents=True)
    (root / "Annotations/000001.xml").write_text(VOC_XML)
    (root / "ImageSets/Main/test.txt").write_text("000001\n")
    Image.new("RGB", (96, 64)).save(root / "JPEGImages/000001.jpg")
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    options = ["DATASETS.TEST", "('voc_2007_test',)", "OUTPUT_DIR", str(tmp_path / "run"), "MODEL.DEVICE", "cpu"]
    cfg = load_config(CONFIG.parent / "voc_r50_c4_24k.yaml", options)
    dataset = find_dataset("voc_2007_test", "image_instance").read()
    figures = evaluate_model(cfg, Oracle(dataset, masks=False), Process())
    assert figures == {f"bbox/{name}": pytest.approx(100.0) for name in ("AP", "AP50", "AP75")}
    (record,) = json.loads((tmp_path / "run/inference/results.json").read_text())
    assert record["bbox"] == [10, 4, 30, 30]


def test_main__fcn_on_label_maps__trains_and_is_scored(words, tmp_path):
    """Catches a segmenter without queries that data or scoring do not know."""
    changes = {
        "MODEL.META_ARCHITECTURE": "FCNSegmenter",
        "MODEL.MASK_ON": False,
        "MODEL.BACKBONE.NAME": "build_narrow_resnet_backbone",
        "MODEL.RESNETS.OUT_FEATURES": "['res4']",
        "MODEL.SEM_SEG_HEAD.IN_FEATURES": "['res4']",
        "MODEL.SEM_SEG_HEAD.NUM_CLASSES": 19,
        "MODEL.SEM_SEG_HEAD.CONVS_DIM": 16,
        "MODEL.SEM_SEG_HEAD.NORM": "BN",
        "DATASETS.TRAIN": "('world_images_train_semantic',)",
        "DATASETS.TEST": "('world_images_valid_semantic',)",
        "SOLVER.MAX_ITER": 2,
    }
    assert main(["--config-file", str(CONFIG), *words(tmp_path / "run"), *(str(w) for p in changes.items() for w in p)]) == 0
    last = json.loads((tmp_path / "run" / "metrics.json").read_text().splitlines()[-1])
    assert 0 <= last["test/mIoU"] <= 100
