"""Training clips of VIPSeg and VSPW: the world in their layouts, through the loader."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dense.config.loading import load_config
from dense.data.datasets import find_dataset, thing_classes, with_kinds
from dense.data.datasets.video_map_categories import VIPSEG
from dense.data.datasets.video_maps import things_first
from dense.data.formats.category_table import Category
from dense.data.loaders import config, train_loader_from_config
from dense.data.world.map_writer import make_map_world
from dense.data.world.parameters import WorldParameters
from dense.errors import ConfigError, DataError

TINY = Path(__file__).resolve().parents[1] / "configs" / "tiny.yaml"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The world in both layouts: two videos of three frames."""
    folder = tmp_path_factory.mktemp("datasets")
    for layout in ("vipseg", "vspw"):
        make_map_world(folder / f"world_{layout}", layout, WorldParameters(3, 2, 1, 3, 48, 64, 4), workers=1)
    return folder


@pytest.fixture
def batch(root, monkeypatch):
    """Function from a data set's name to its first batch."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(root))

    def first(name, *words):
        options = ["DATASETS.TRAIN", f"('{name}',)", "MODEL.SEM_SEG_HEAD.NUM_CLASSES", 19, "SOLVER.IMS_PER_BATCH", 2]
        options += ["INPUT.SAMPLING_FRAME_NUM", 3, "INPUT.SAMPLING_FRAME_RANGE", 2, "INPUT.MIN_SIZE_TRAIN", "(48,)"]
        loader = train_loader_from_config(load_config(TINY, [*options, "DATALOADER.NUM_WORKERS", 0, *words]))
        return next(loader)

    return first


@pytest.mark.parametrize("layout", ["vipseg", "vspw"])
def test_clip__unchanged_size__masks_are_those_of_the_maps(batch, root, layout):
    """Catches classes by id instead of things first, segments that change slots, and maps of another frame."""
    for clip in batch(f"world_{layout}_train"):
        source = find_dataset(f"world_{layout}_train", f"video_{'panoptic' if layout == 'vipseg' else 'semantic'}").read()
        video = next(v for v in source.videos if v.id == clip["video_id"])
        classes = things_first(source.categories)
        labels = clip["instances"][0].labels.tolist()
        assert len(clip["image"]) == 3
        for t, image, targets in zip(clip["frame_idx"], clip["image"], clip["instances"], strict=True):
            assert targets.labels.tolist() == labels
            assert targets.ids.tolist() == list(range(len(labels)))  # never -1, as published
            picture = torch.from_numpy(np.asarray(Image.open(clip["file_names"][clip["frame_idx"].index(t)])).copy())
            flipped = not torch.equal(image, picture.permute(2, 0, 1))
            masks = targets.masks.flip(-1) if flipped else targets.masks
            frame = video.frames[t]
            if layout == "vipseg":
                ids = source.ids(video, t)
                expected = {int((ids == s.id).sum()): classes[s.category_id] for s in frame.segments}
                found = {int(m.sum()): k for m, k in zip(masks, labels, strict=True) if m.any()}
                assert found == expected
            else:
                values = source.labels(frame)
                for mask, label in zip(masks, labels, strict=True):
                    (category,) = (k for k, rank in classes.items() if rank == label)
                    assert np.array_equal(mask.numpy(), values == category)
        assert torch.stack([t.masks for t in clip["instances"]]).sum(1).eq(1).float().mean() > 0.99  # every pixel one region


def test_batches__same_seed__same_clips(batch):
    """Catches draws from global state."""
    one, two = batch("world_vipseg_train"), batch("world_vipseg_train")
    assert [c["frame_idx"] for c in one] == [c["frame_idx"] for c in two]
    assert all(torch.equal(a, b) for c, d in zip(one, two, strict=True) for a, b in zip(c["image"], d["image"], strict=True))


def test_batches__wrong_number_of_classes__error_names_the_key(batch):
    """Catches a class index beyond the classifier, found as a foreign error in the loss."""
    with pytest.raises(ConfigError, match=r"NUM_CLASSES: 14, but data set 'world_vspw_train' has 19"):
        batch("world_vspw_train", "MODEL.SEM_SEG_HEAD.NUM_CLASSES", 14)


def test_batches__mapped__error_names_the_key(batch, root):
    """Catches a mapping that is asked for and not done."""
    words = ["DATASETS.TRAIN", "('world_vipseg_train', 'world_vspw_train')", "DATASETS.DATASET_RATIO", "[1.0, 1.0]"]
    words += ["DATASETS.DATASET_TYPE", "['video_panoptic', 'video_semantic']", "DATASETS.DATASET_NEED_MAP", "[True, False]"]
    with pytest.raises(ConfigError, match="DATASET_NEED_MAP: True for 'world_vipseg_train'"):
        batch("unused", *words)


def test_clip__frame_of_another_size__names_the_file(batch, root, tmp_path, monkeypatch):
    """Catches masks that are cut or padded silently."""
    shutil.copytree(root / "world_vspw", tmp_path / "world_vspw")
    for video in (tmp_path / "world_vspw" / "data").glob("train*"):
        for width, picture in enumerate(sorted((video / "origin").iterdir()), start=40):
            Image.new("RGB", (width, 48)).save(picture)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    with pytest.raises(DataError, match=r"\.jpg: is 48x4\d pixels \(height x width\), another frame"):
        batch("world_vspw_train")


def test_names__official__kinds_things_and_order():
    """Catches a table that slipped: 58 things before 66 kinds of stuff in both sets."""
    assert with_kinds(["panoVSPW_vps_video_train", "VSPW_vss_video_val"], ["video_instance"]) == [
        ("panoVSPW_vps_video_train", "video_panoptic"),
        ("VSPW_vss_video_val", "video_semantic"),
    ]
    assert thing_classes("panoVSPW_vps_video_train", "video_panoptic") == frozenset(range(58))
    assert len(VIPSEG) == 124
    names = find_dataset("panoVSPW_vps_video_train", "video_panoptic").category_names
    assert names[:3] == ("door", "ladder", "window")
    assert names[57] == "train"
    assert names[58] == "wall"
    assert names[-1] == "food"
    with pytest.raises(ConfigError, match="does not say which classes are things"):
        thing_classes("VSPW_vss_video_train", "video_semantic")


def test_things_first__ids_mixed__things_then_stuff():
    """Catches an order by id alone."""
    assert things_first([Category(9, "a", True), Category(2, "b", False), Category(4, "c", True)]) == {4: 0, 9: 1, 2: 2}


def test_own_names__wrong_form__error_shows_the_form():
    """Catches a traceback for a misspelt name."""
    with pytest.raises(ConfigError, match="Did you mean 'panoVSPW_vps_video_train'"):
        find_dataset("panoVSPW_vps_video_trian", "video_panoptic")
    with pytest.raises(ConfigError, match="FOLDER:SPLIT"):
        find_dataset("nothing like it", "video_semantic")


@pytest.mark.parametrize(("layout", "kind"), [("vipseg", "video_panoptic"), ("vspw", "video_semantic")])
def test_test_loader__of_maps__every_video_once_and_in_order(root, monkeypatch, layout, kind):
    """Catches test sets that only instance videos can be, frames out of order, and results of the resized size."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(root))
    name = f"world_{layout}_train"
    cfg = load_config(TINY, ["DATASETS.TEST", f"('{name}',)", "INPUT.MIN_SIZE_TEST", 24])
    videos = find_dataset(name, kind).read().videos
    parts = [[clip for (clip,) in config.test_loader_from_config(cfg, name, rank, 2)] for rank in range(2)]
    clips = [clip for part in parts for clip in part]
    assert [clip["video_id"] for clip in clips] == [video.id for video in videos]
    assert [len(part) for part in parts] == [1, 1]
    for clip, video in zip(clips, videos, strict=True):
        assert (clip["height"], clip["width"], clip["length"], len(clip["image"])) == (48, 64, 3, video.length)
        assert all(frame.shape == (3, 24, 32) for frame in clip["image"])
        assert clip["file_names"] == sorted(clip["file_names"])


def test_class_names__own_files_stuff_first__in_the_order_of_the_classes(root):
    """Catches names in the order of the ids, which labels every picture wrong."""
    from dense.data.datasets import class_names

    world = root / "world_vipseg"
    data = json.loads((world / "panoptic_gt_VIPSeg_val.json").read_text())
    for category in data["categories"]:
        category["isthing"] = int(category["name"] in ("sky", "water"))
    (world / "own.json").write_text(json.dumps(data))
    names = class_names(f"{world / 'own.json'}:{world / 'panomasksRGB'}:{world / 'images'}", "video_panoptic")
    assert names[:2] == ("sky", "water")
    assert set(names) == {category["name"] for category in data["categories"]}
    assert class_names("world_vipseg_val", "video_panoptic")[-5:] == ("sky", "grass", "water", "brick", "sand")
