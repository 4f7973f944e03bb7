"""Training loaders of images from a configuration."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dense.config.loading import load_config
from dense.data.datasets.images import WORLD_CATEGORIES
from dense.data.loaders import image_augmentation_from_config, train_loader_from_config
from dense.data.loaders.config import test_loader_from_config as build_test_loader
from dense.data.transforms import ClipChance, ClipCrop, ClipFlip, LargeScaleJitter, ResizeShortestEdge
from dense.data.world import make_image_world
from dense.errors import ConfigError, DataError
from dense.io import read_json, write_json

TINY = Path(__file__).resolve().parents[1] / "configs" / "tiny_image.yaml"
KINDS = {"instance": ("world_images_train", 14), "panoptic": ("world_images_train_panoptic", 19)}
KINDS["semantic"] = ("world_images_train_semantic", 19)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("datasets")
    make_image_world(folder / "world_images", train_images=4, valid_images=1, size=(64, 96), workers=1)
    return folder


@pytest.fixture
def configured(root, monkeypatch):
    """Function from a task and KEY VALUE words to a configuration."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(root))

    def make(task, *words):
        name, classes = KINDS[task]
        words = ("DATASETS.TRAIN", f"('{name}',)", "MODEL.SEM_SEG_HEAD.NUM_CLASSES", classes, *words)
        return load_config(TINY, [*words, "SOLVER.IMS_PER_BATCH", 4])

    return make


def batches(cfg, count, start=0):
    loader = train_loader_from_config(cfg, start)
    found = [next(loader) for _ in range(count)]
    loader.close()
    return found


@pytest.mark.parametrize("task", KINDS)
def test_train_loader_from_config__image_set__samples_the_model_reads(configured, task):
    """Catches a kind of set that gives the targets of another, and classes out of range."""
    (batch,) = batches(configured(task), 1)
    assert len({sample["file_name"] for sample in batch}) == 4
    labels = torch.cat([sample["instances"].gt_classes for sample in batch])
    assert labels.min() >= 0
    assert labels.max() < KINDS[task][1]
    assert (labels >= 14).any() == (task != "instance")
    for sample in batch:
        targets = sample["instances"]
        assert targets.gt_masks.shape == (len(targets.gt_classes), *sample["image"].shape[1:])
        if task == "semantic":
            assert len(set(targets.gt_classes.tolist())) == len(targets)
    assert len(WORLD_CATEGORIES) == 19


def test_train_loader_from_config__started_later__same_batches(configured):
    """Catches a resumed run that sees other crops or other pictures."""
    cfg = configured("panoptic", "INPUT.DATASET_MAPPER_NAME", "coco_panoptic_lsj", "INPUT.IMAGE_SIZE", 64)
    whole, rest = batches(cfg, 3), batches(cfg, 1, start=2)
    for one, other in zip(whole[2], rest[0], strict=True):
        assert one["file_name"] == other["file_name"]
        assert (one["image"] == other["image"]).all()
        assert tuple(one["image"].shape) == (3, 64, 64)


def test_train_loader_from_config__worker_process__same_batches(configured):
    """Catches targets that do not survive the way out of a worker."""
    alone = batches(configured("instance"), 1)[0]
    (carried,) = batches(configured("instance", "DATALOADER.NUM_WORKERS", 1), 1)
    for one, other in zip(alone, carried, strict=True):
        assert (one["instances"].gt_masks == other["instances"].gt_masks).all()


def test_train_loader_from_config__other_number_of_classes__says_both(configured):
    """Catches a label out of range that ends as a device-side assert."""
    with pytest.raises(ConfigError, match=r"NUM_CLASSES: 5.*14 categories"):
        train_loader_from_config(configured("instance", "MODEL.SEM_SEG_HEAD.NUM_CLASSES", 5))


def test_train_loader_from_config__no_objects__filtered_or_kept(configured, root, tmp_path):
    """Catches an endless wait or a foreign error where the filter leaves nothing."""
    content = read_json(root / "world_images/annotations/instances_train.json")
    write_json(tmp_path / "empty.json", {**content, "annotations": []})
    own = f"('{tmp_path / 'empty.json'}:{root / 'world_images/images/train'}',)"
    words = ["DATASETS.TRAIN", own, "DATASETS.DATASET_TYPE", "['image_instance']"]
    with pytest.raises(DataError, match=r"empty\.json.*FILTER_EMPTY_ANNOTATIONS"):
        train_loader_from_config(configured("instance", *words))
    (batch,) = batches(configured("instance", *words, "DATALOADER.FILTER_EMPTY_ANNOTATIONS", False), 1)
    assert {len(sample["instances"]) for sample in batch} == {0}


def test_test_loader_from_config__image_set__says_where_images_go(configured):
    """Catches an image set read as videos."""
    with pytest.raises(ConfigError, match="ImagePredictor"):
        build_test_loader(configured("panoptic"), "world_images_valid_panoptic")


def parts(configured, *words):
    return image_augmentation_from_config(configured("instance", *words).INPUT).augmentations


def test_image_augmentation_from_config__jitter__flip_and_canvas(configured):
    """Catches large-scale jitter with another range or canvas than asked for."""
    words = ["INPUT.DATASET_MAPPER_NAME", "coco_instance_lsj", "INPUT.IMAGE_SIZE", 77, "INPUT.MIN_SCALE", 0.5]
    assert parts(configured, *words) == (ClipFlip(), LargeScaleJitter(77, (0.5, 2.0)))


def test_image_augmentation_from_config__shortest_edge__resize_crop_colour_flip(configured):
    """Catches a crop or colours that are ignored, and a flip in the wrong direction."""
    words = ["INPUT.CROP.ENABLED", True, "INPUT.CROP.TYPE", "absolute", "INPUT.CROP.SIZE", "[30, 40]"]
    found = parts(configured, *words, "INPUT.COLOR_AUG_SSD", True, "INPUT.RANDOM_FLIP", "vertical")
    assert found[:2] == (ResizeShortestEdge((64,), 96, "choice"), ClipCrop("absolute", (30, 40)))
    assert [type(part) for part in found[2:5]] == [ClipChance] * 3
    assert found[5:] == (ClipFlip(direction="vertical"),)
    sizes = [t.output_size((64, 96)) for t in found[1].sample([(64, 96)], np.random.default_rng(0))[0]]
    assert sizes == [(30, 40)]


@pytest.mark.parametrize(("key", "value"), [("DATASET_MAPPER_NAME", "coco_lsj"), ("RANDOM_FLIP", "sideways")])
def test_image_augmentation_from_config__unknown_word__names_the_key(configured, key, value):
    """Catches a misspelt word that switches augmentation off."""
    with pytest.raises(ConfigError, match=f"INPUT.{key}"):
        parts(configured, f"INPUT.{key}", value)
