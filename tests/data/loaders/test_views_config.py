"""Loader of views from a configuration: determinism, resume, broken pictures from workers, sources by name."""

import io
import logging
import tarfile
import zipfile
from itertools import chain
from pathlib import Path
from types import SimpleNamespace as Node

import numpy as np
import pytest
import torch
from PIL import Image

from dense.config.loading import load_config
from dense.data.datasets import KINDS, find_dataset, resolve_unlabelled, with_kinds
from dense.data.loaders import train_loader_from_config
from dense.data.loaders.config import training_set_length
from dense.data.loaders.samplers import ResumableSampler
from dense.data.world import make_image_world, make_video_world
from dense.errors import ConfigError, DataError

COUNT = 11


@pytest.fixture
def folder(tmp_path):
    """Eleven pictures in two folders, of which three are broken."""
    rng = np.random.default_rng(0)
    for k in range(COUNT):
        path = tmp_path / "pictures" / str(k % 2) / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if k in (2, 5, 6):
            path.write_bytes(b"")
        else:
            Image.fromarray(rng.integers(0, 256, (16, 24, 3), dtype=np.uint8)).save(path)
    return tmp_path / "pictures"


@pytest.fixture
def make(folder):
    """Function from KEY=value (lower case) to a configuration with the keys that the loader reads."""

    def configured(train=(str(folder),), kinds=("image_views",), workers=0, **views):
        keys = {"SIZE": 8, "MIN_AREA": 0.2, "TRANSFORM": "BYOL", "BLUR_SIGMA": (0.1, 2.0), "SMALL_NUM": 0, "SMALL_SIZE": 4}
        keys |= {"SMALL_AREA": (0.05, 0.14), "REDUCED_DECODING": True, **views}
        return Node(
            SEED=3,
            SOLVER=Node(IMS_PER_BATCH=4),
            DATALOADER=Node(NUM_WORKERS=workers),
            DATASETS=Node(
                TRAIN=train,
                DATASET_RATIO=[1.0] * len(train),
                DATASET_TYPE=list(kinds),
                DATASET_NEED_MAP=[False] * len(train),
                CACHE="",
            ),
            INPUT=Node(FORMAT="RGB", VIEWS=Node(**keys)),
        )

    return configured


def batches(cfg, count, start=0, rank=0, world_size=1):
    loader = train_loader_from_config(cfg, start, rank, world_size)
    try:
        return [next(loader) for _ in range(count)]
    finally:
        loader.close()


def check_equal(found, wanted):
    for a, b in zip(chain(*found), chain(*wanted), strict=True):
        assert a.keys() == b.keys() == {"views", "coords", "file_name", "index"}
        assert (a["file_name"], a["index"]) == (b["file_name"], b["index"])
        assert torch.equal(a["views"], b["views"])
        assert torch.equal(a["coords"], b["coords"])


@pytest.mark.parametrize("workers", [1, 2])
def test_views_loader__workers__same_batches(make, workers):
    """Catches draws that depend on the worker, and broken pictures that one worker knows and another does not."""
    check_equal(batches(make(workers=workers), 6), batches(make(), 6))


@pytest.mark.parametrize("start", [1, 3, 7])
def test_views_loader__resumed_at_any_step__same_batches(make, start):
    """Catches a resumed run that sees other pictures or other views."""
    check_equal(batches(make(), 3, start), batches(make(), start + 3)[start:])


def test_views_loader__two_ranks__share_the_batches_of_one(make):
    """Catches ranks that see the same pictures."""
    parts = [batches(make(), 4, rank=rank, world_size=2) for rank in range(2)]
    check_equal([a + b for a, b in zip(*parts, strict=True)], batches(make(), 4))


def test_views_loader__next_epoch__other_views_of_the_same_picture(make):
    """Catches views that are drawn once for all."""
    samples = [s for s in chain(*batches(make(TRANSFORM="NULL"), 8)) if s["index"] == 1]
    epochs = [s["coords"].tolist() for s in samples]
    assert len(epochs) >= 2
    assert len({str(e) for e in epochs}) == len(epochs)


def test_resumable_sampler__drop_last__whole_batches_each_epoch():
    """Catches a batch of two epochs, an epoch that repeats a picture, an order that is the same each epoch."""
    sampler = ResumableSampler(11, 4, seed=0, drop_last=True)
    epochs = [[key for step in (2 * e, 2 * e + 1) for key in sampler.batch(step)] for e in range(50)]
    for number, keys in enumerate(epochs):
        assert {epoch for _, epoch, _ in keys} == {number}
        assert len({index for *_, index in keys}) == 8
    assert len({tuple(index for *_, index in keys) for keys in epochs}) == 50
    assert {index for keys in epochs for *_, index in keys} == set(range(11))
    with pytest.raises(DataError, match="IMS_PER_BATCH"):
        ResumableSampler(3, 4, seed=0, drop_last=True)


@pytest.mark.parametrize("workers", [0, 2])
def test_views_loader__broken_pictures__each_named_once_and_counted(make, folder, caplog, workers):
    """Catches log lines that stay in a worker or come every epoch, and a count of files instead of replacements."""
    caplog.set_level(logging.WARNING)
    loader = train_loader_from_config(make(workers=workers))
    seen = [sample for _ in range(20) for sample in next(loader)]
    assert not {2, 5, 6} & {int(s["file_name"].rsplit("/", 1)[1][:-4]) for s in seen}
    assert len(loader.unreadable) == 3
    assert loader.replaced >= 6
    replaced = loader.replaced
    loader.close()
    loader.close()
    lines = [record.getMessage() for record in caplog.records]
    for name in ("0/2.png", "1/5.png", "0/6.png"):
        assert sum(str(folder / name) in line for line in lines) == 1
    assert sum(f"3 pictures could not be read and were replaced, {replaced} times" in line for line in lines) == 1


def test_views_loader__all_broken__one_error_from_a_worker(make, tmp_path):
    """Catches a traceback of a worker, and a loader that hangs."""
    (tmp_path / "bad").mkdir()
    for k in range(5):
        (tmp_path / "bad" / f"{k}.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="none of its 5 pictures"):
        batches(make((str(tmp_path / "bad"),), workers=1), 1)


def test_training_set_length__all_sets__summed(make, folder):
    """Catches epochs counted by the first set only."""
    assert training_set_length(make()) == COUNT
    assert training_set_length(make((str(folder), str(folder / "0")), ("image_views", "image_views"))) == COUNT + 6


@pytest.mark.parametrize(
    ("views", "named"),
    [
        ({"TRANSFORM": "byol"}, "BYOL"),
        ({"MIN_AREA": 0}, "MIN_AREA"),
        ({"MIN_AREA": 1.5}, "MIN_AREA"),
        ({"BLUR_SIGMA": (2, 1)}, "BLUR_SIGMA"),
        ({"SMALL_AREA": (0.1,)}, "SMALL_AREA"),
        ({"SIZE": 0}, "SIZE"),
        ({"SMALL_NUM": -1}, "SMALL_NUM"),
    ],
)
def test_view_settings__wrong_value__key_named(make, views, named):
    """Catches a wrong value that fails in a worker, or not at all."""
    with pytest.raises(ConfigError, match=named):
        train_loader_from_config(make(**views))


def test_train_loader__views_and_other_kinds__refused(make, folder):
    """Catches batches of records that no model reads together."""
    with pytest.raises(ConfigError, match="cannot be mixed"):
        train_loader_from_config(make((str(folder), "world_images_train"), ("image_views", "image_instance")))


def test_train_loader__registered_keys__defaults_load(folder):
    """Catches keys of INPUT.VIEWS that are registered otherwise than they are read."""
    words = ["DATASETS.TRAIN", f"('{folder}',)", "DATASETS.DATASET_TYPE", "['image_views']", "SOLVER.IMS_PER_BATCH", 2]
    cfg = load_config(Path(__file__).resolve().parents[1] / "configs" / "tiny_image.yaml", [*words, "INPUT.FORMAT", "RGB"])
    cfg.defrost()
    cfg.DATALOADER.NUM_WORKERS = 0
    assert batches(cfg, 1)[0][0]["views"].shape == (2, 3, 224, 224)


def test_resolve_unlabelled__worlds__pictures_and_frames(tmp_path, monkeypatch):
    """Catches label maps among the pictures, and registered names of another kind."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    make_image_world(tmp_path / "world_images", train_images=3, valid_images=1, size=(64, 96), workers=1)
    make_video_world(tmp_path / "world", train_videos=2, valid_videos=1, frames=2, size=(64, 96), workers=1)
    assert with_kinds(["world_images_unlabelled"], ["video_instance"]) == [("world_images_unlabelled", "image_views")]
    assert len(find_dataset("world_images_unlabelled", "image_views").read()) == 3
    assert len(resolve_unlabelled("world_videos_unlabelled").read()) == 4
    assert KINDS["image_views"] is resolve_unlabelled


def test_resolve_unlabelled__own_paths__each_form(tmp_path, folder):
    """Catches a form that is taken for another."""
    with tarfile.open(tmp_path / "s-0.tar", "w") as archive:
        stream = io.BytesIO()
        Image.new("RGB", (4, 4)).save(stream, "PNG")
        entry = tarfile.TarInfo("1.png")
        entry.size = stream.tell()
        stream.seek(0)
        archive.addfile(entry, stream)
    (tmp_path / "list.json").write_text('{"images": [{"id": 1, "file_name": "0/0.png", "width": 24, "height": 16}]}')
    assert len(resolve_unlabelled(str(folder)).read()) == COUNT
    assert len(resolve_unlabelled(f"{tmp_path}/s-{{0..0}}.tar").read()) == 1
    assert resolve_unlabelled(f"{tmp_path}/list.json:{folder}").read().name(0) == str(folder / "0/0.png")
    with pytest.raises(DataError, match=r"a\.zip does not exist"):
        resolve_unlabelled(f"{tmp_path}/a.zip").read()
    with pytest.raises(DataError, match="no such folder"):
        resolve_unlabelled(f"{tmp_path}/nothing")
    with pytest.raises(ConfigError, match="imagenet_train"):
        resolve_unlabelled("imagenet_tran")


def test_resolve_unlabelled__imagenet_and_voc__their_layouts(tmp_path, monkeypatch, folder):
    """Catches the pictures of VOC's test part, and a zip file that hides an unpacked folder."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    base = tmp_path / "VOC2007"
    (base / "ImageSets/Main").mkdir(parents=True)
    (base / "JPEGImages").mkdir()
    (base / "ImageSets/Main/trainval.txt").write_text("000005\n")
    assert resolve_unlabelled("voc_2007_trainval_unlabelled").read().name(0) == str(base / "JPEGImages/000005.jpg")
    with pytest.raises(DataError, match="DETECTRON2_DATASETS"):
        resolve_unlabelled("imagenet_train").read()
    (tmp_path / "imagenet").mkdir()
    with zipfile.ZipFile(tmp_path / "imagenet/train.zip", "w") as archive:
        archive.write(folder / "0/0.png", "n1/0.png")
    (tmp_path / "imagenet/train_map.txt").write_text("n1/0.png\t0\n")
    assert resolve_unlabelled("imagenet_train").read().name(0) == f"{tmp_path}/imagenet/train.zip/n1/0.png"
    (tmp_path / "imagenet/train").symlink_to(folder)
    assert len(resolve_unlabelled("imagenet_train").read()) == COUNT
