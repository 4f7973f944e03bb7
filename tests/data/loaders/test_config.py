"""Loaders and augmentations from a config: the right keys, and errors that name them."""

import json
from itertools import islice
from pathlib import Path
from types import SimpleNamespace as Node

import numpy as np
import pytest
from PIL import Image

from dense.data.loaders import config
from dense.data.transforms import (
    ClipChance,
    ClipColour,
    ClipCrop,
    ClipFlip,
    ClipRotation,
    LargeScaleJitter,
    PseudoRotation,
    ResizeShortestEdge,
)
from dense.errors import ConfigError, DataError


def test_train_loader_from_config__filter_on__leaves_out_empty_videos_and_maps_classes(cfg):
    """Keys that are not read: batch size, clip length, sizes, filter."""
    batches = list(islice(config.train_loader_from_config(cfg), 12))
    assert {len(batch) for batch in batches} == {2}
    clips = [clip for batch in batches for clip in batch]
    assert {clip["video_id"] for clip in clips} == {1, 2, 4, 5}
    assert {len(clip["image"]) for clip in clips} == {3}
    assert {tuple(clip["image"][0].shape) for clip in clips} == {(3, 12, 20), (3, 16, 27)}
    assert {label for clip in clips for f in clip["instances"] for label in f.labels.tolist()} == {1}


def test_train_loader_from_config__filter_off__keeps_empty_videos(cfg):
    """A filter that cannot be switched off."""
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = False
    batches = islice(config.train_loader_from_config(cfg), 6)
    assert {clip["video_id"] for batch in batches for clip in batch} == {1, 2, 3, 4, 5}


def test_train_loader_from_config__start_step_and_ranks__are_passed_on(cfg):
    """A resumed or parallel run that starts from the beginning or reads everything."""
    whole = [[c["video_id"] for c in batch] for batch in islice(config.train_loader_from_config(cfg), 8)]
    later = [[c["video_id"] for c in batch] for batch in islice(config.train_loader_from_config(cfg, 3), 5)]
    second = [[c["video_id"] for c in batch] for batch in islice(config.train_loader_from_config(cfg, 3, 1, 2), 5)]
    assert later == whole[3:]
    assert second == [batch[1:] for batch in later]


def test_train_loader_from_config__negative_seed__is_still_reproducible(cfg):
    """Detectron2's default seed -1 must not break exact resume."""
    cfg.SEED = -1
    first, second = (next(config.train_loader_from_config(cfg)) for _ in range(2))
    assert [c["frame_idx"] for c in first] == [c["frame_idx"] for c in second]
    assert all(np.array_equal(a["image"][0], b["image"][0]) for a, b in zip(first, second, strict=True))


def test_test_loader_from_config__any_filter__gives_every_video(cfg, dataset_name):
    """Videos without objects left out of the test, or the training size used."""
    clips = [clip for (clip,) in config.test_loader_from_config(cfg, dataset_name)]
    assert [clip["video_id"] for clip in clips] == [1, 2, 3, 4, 5]
    assert clips[0]["image"][0].shape == (3, 6, 10)


def test_video_augmentation_from_config__all_switches__in_the_papers_order(cfg):
    """A key without effect, or the crop's numbers taken from the wrong node."""
    cfg.INPUT.CROP.ENABLED = True
    cfg.INPUT.RANDOM_FLIP = "horizontal"
    cfg.INPUT.AUGMENTATIONS = ["brightness", "rotation"]
    assert config.video_augmentation_from_config(cfg.INPUT).augmentations == (
        ClipChance((ResizeShortestEdge((400, 500, 600), 1333), ClipCrop("absolute_range", (6, 10))), 0.5),
        ResizeShortestEdge((12, 16), 64, "choice_by_clip"),
        ClipFlip(by_clip=False),
        ClipColour("brightness"),
        ClipRotation(),
    )


def test_pseudo_augmentation_from_config__default__uses_the_pseudo_node(cfg):
    """Pseudo clips with the sizes of videos, or without motion."""
    expected = (ResizeShortestEdge((10,), 64, "choice_by_clip"), ClipFlip(), PseudoRotation())
    assert config.pseudo_augmentation_from_config(cfg.INPUT).augmentations == expected


def test_video_augmentation_from_config__jitter__replaces_crop_and_resize(cfg):
    """Jitter on top of the resizing that it replaces."""
    cfg.INPUT.LSJ_AUG.ENABLED = cfg.INPUT.CROP.ENABLED = True
    expected = (LargeScaleJitter(32, (0.1, 2.0)), ClipFlip())
    assert config.video_augmentation_from_config(cfg.INPUT).augmentations == expected


@pytest.mark.parametrize(
    ("node", "key", "value", "message"),
    [
        ("INPUT", "RANDOM_FLIP", "flip_by_clop", "INPUT.RANDOM_FLIP: 'flip_by_clop'"),
        ("INPUT", "AUGMENTATIONS", ["brigthness"], "did you mean 'brightness'"),
        ("INPUT", "FORMAT", "YUV", "INPUT.FORMAT"),
        ("INPUT", "MIN_SIZE_TRAIN_SAMPLING", "by_clip", "MIN_SIZE_TRAIN_SAMPLING"),
        ("DATASETS", "TRAIN", (), "DATASETS.TRAIN: empty"),
        ("DATASETS", "DATASET_RATIO", [1.0, 2.0], "DATASET_RATIO: 2 entries, expected 1"),
        ("DATASETS", "DATASET_TYPE", ["video_instances"], "Did you mean 'video_instance'"),
        ("DATASETS", "DATASET_NEED_MAP", [True, False], "DATASET_NEED_MAP: 2 entries, expected 1"),
        ("SOLVER", "IMS_PER_BATCH", 0, "IMS_PER_BATCH"),
    ],
)
def test_train_loader_from_config__wrong_value__config_error_names_the_key(cfg, node, key, value, message):
    """A wrong value that is ignored or shows as a foreign traceback."""
    setattr(getattr(cfg, node), key, value)
    with pytest.raises(ConfigError) as caught:
        config.train_loader_from_config(cfg)
    assert message in str(caught.value)


def test_train_loader_from_config__nothing_left_after_the_filter__data_error_names_the_file(cfg, tmp_path):
    """An endless loader over nothing."""
    file = tmp_path / "train.json"
    file.write_text(file.read_text().replace('"iscrowd": 0', '"iscrowd": 1'))
    with pytest.raises(DataError, match=r"train\.json: no video has an object"):
        config.train_loader_from_config(cfg)


def _clips(cfg, batches=8):
    return [clip for batch in islice(config.train_loader_from_config(cfg), batches) for clip in batch]


def test_train_loader_from_config__reverse_and_shuffle__reach_the_frame_sampler(cfg):
    """Sampling keys without effect."""
    assert all(clip["frame_idx"] == sorted(clip["frame_idx"]) for clip in _clips(cfg))
    cfg.INPUT.REVERSE_AGU = True
    assert {clip["frame_idx"][1] - clip["frame_idx"][0] for clip in _clips(cfg)} == {1, -1}
    cfg.INPUT.REVERSE_AGU, cfg.INPUT.SAMPLING_FRAME_SHUFFLE, cfg.INPUT.SAMPLING_FRAME_RANGE = False, True, 3
    assert any(clip["frame_idx"] != sorted(clip["frame_idx"]) for clip in _clips(cfg))


def test_loaders_from_config__bgr__reverses_the_channels_of_both(cfg, dataset_name):
    """A model that expects blue first fed with red first."""
    cfg.DATALOADER.NUM_WORKERS = 1
    loader = config.train_loader_from_config(cfg)
    rgb = next(loader)[0]["image"][0], next(iter(config.test_loader_from_config(cfg, dataset_name)))[0]["image"][0]
    loader.close()
    cfg.DATALOADER.NUM_WORKERS, cfg.INPUT.FORMAT = 0, "BGR"
    bgr = _clips(cfg, 1)[0]["image"][0], next(iter(config.test_loader_from_config(cfg, dataset_name)))[0]["image"][0]
    assert all(np.array_equal(a, b.flip(0)) for a, b in zip(rgb, bgr, strict=True))
    assert not np.array_equal(rgb[0], bgr[0])


def test_test_loader_from_config__max_size__limits_the_longest_edge(cfg, dataset_name):
    """A limit that is not read."""
    cfg.INPUT.MAX_SIZE_TEST = 8
    assert next(iter(config.test_loader_from_config(cfg, dataset_name)))[0]["image"].image_size == (5, 8)


class TestMixedSets:
    """COCO-like images beside videos, as all official video recipes have them."""

    @pytest.fixture
    def mixed(self, cfg, tmp_path):
        """Three images of a star (id 7) and a moon (id 8) before the videos; a moon is nothing that the videos know."""
        images, objects = [], []
        for n in range(3):
            Image.fromarray(np.full((12, 20, 3), 60 * n, np.uint8)).save(tmp_path / f"i{n}.png")
            images.append({"id": n, "width": 20, "height": 12, "file_name": f"i{n}.png"})
            if n < 2:
                box = [[2, 2, 12, 2, 12, 9, 2, 9]]
                objects.append({"id": n, "image_id": n, "category_id": 7 + n, "segmentation": box, "bbox": [2, 2, 10, 7]})
        categories = [{"id": 7, "name": "Star"}, {"id": 8, "name": "moon"}]
        data = {"images": images, "annotations": objects, "categories": categories}
        (tmp_path / "images.json").write_text(json.dumps(data))
        cfg.MODEL = Node(META_ARCHITECTURE="VideoSegmenter", SEM_SEG_HEAD=Node(NUM_CLASSES=2))
        cfg.DATASETS.TRAIN = (f"{tmp_path / 'images.json'}:{tmp_path}", *cfg.DATASETS.TRAIN)
        cfg.DATASETS.DATASET_TYPE = ["image_instance", "video_instance"]
        cfg.DATASETS.DATASET_RATIO, cfg.DATASETS.DATASET_NEED_MAP = [1.0, 1.0], [True, False]
        return cfg

    def test_batches__both_sets__same_form_each_batch_from_one(self, mixed):
        """Catches clips of images that the model cannot read, a set that never comes, and batches of both."""
        seen = set()
        for batch in islice(config.train_loader_from_config(mixed), 12):
            (from_images,) = {Path(clip["file_names"][0]).name.startswith("i") for clip in batch}
            seen.add(from_images)
            for clip in batch:
                assert len(clip["image"]) == len(clip["instances"]) == 3
                if from_images:
                    assert [t.labels.tolist() for t in clip["instances"]] == [[1]] * 3  # star is class 1 of the videos
        assert seen == {True, False}

    def test_batches__image_without_mapped_object__left_out(self, mixed):
        """Catches empty pictures among the training clips: the moon and the picture of nothing."""
        batches = islice(config.train_loader_from_config(mixed), 12)
        names = {name.rsplit("/", 1)[1] for batch in batches for clip in batch for name in clip["file_names"]}
        assert {name for name in names if name.startswith("i")} == {"i0.png"}

    def test_mapping__nothing_in_common__error_names_the_key(self, mixed, tmp_path):
        """Catches a training set of which everything is left out."""
        file = tmp_path / "images.json"
        file.write_text(file.read_text().replace("Star", "comet"))
        with pytest.raises(ConfigError, match="DATASET_NEED_MAP: no category"):
            config.train_loader_from_config(mixed)

    def test_mapping__videos_first__mapped_by_name(self, mixed):
        """Catches videos that are mapped by position: a star is class 1 of their own set, class 0 of the images'."""
        mixed.DATASETS.TRAIN = mixed.DATASETS.TRAIN[::-1]
        mixed.DATASETS.DATASET_TYPE = mixed.DATASETS.DATASET_TYPE[::-1]
        found = [
            t.labels.tolist()
            for batch in islice(config.train_loader_from_config(mixed), 12)
            for clip in batch
            if not Path(clip["file_names"][0]).name.startswith("i")
            for t in clip["instances"]
        ]
        assert found
        assert all(labels == [0] for labels in found)
