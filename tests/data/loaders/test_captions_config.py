"""Loader of captions from a configuration: what it gives, determinism, resume, broken pictures and empty captions."""

import logging
from itertools import islice
from types import SimpleNamespace as Node

import numpy as np
import pytest
import torch
from PIL import Image

from dense.config.loading import load_config
from dense.data.datasets import KINDS, find_dataset, resolve_captions, with_kinds
from dense.data.formats.caption_sets import read_caption_folder
from dense.data.loaders import train_loader_from_config
from dense.data.mappers.captions import CaptionMapper, CaptionSettings
from dense.data.world import make_word_world
from dense.errors import ConfigError, DataError

COUNT, BROKEN, SILENT = 11, (2, 5), 6


@pytest.fixture
def folder(tmp_path):
    """Eleven pictures, of which two are broken and one has an empty caption; each has its own colour and two captions."""
    root = tmp_path / "pictures"
    root.mkdir()
    for k in range(COUNT):
        if k in BROKEN:
            (root / f"{k:02}.png").write_bytes(b"broken")
        else:
            Image.fromarray(np.full((16, 24, 3), 20 * k, np.uint8)).save(root / f"{k:02}.png")
        (root / f"{k:02}.txt").write_text("\n" if k == SILENT else f"number {k}\nthe {k}th\n")
    return root


@pytest.fixture
def make(folder):
    """Function from KEY=value to a configuration with the keys that the loader reads."""

    def configured(train=(str(folder),), kinds=("image_captions",), workers=0, **captions):
        keys = {"SIZE": 8, "MIN_AREA": 0.9, "ASPECT": (0.75, 4 / 3), "INTERPOLATION": "bicubic", "FLIP": False}
        keys |= {"IMAGE_COLUMN": "", "CAPTION_COLUMN": "", **captions}
        return Node(
            SEED=3,
            SOLVER=Node(IMS_PER_BATCH=4),
            DATALOADER=Node(NUM_WORKERS=workers, SAMPLER_TRAIN="TrainingSampler"),
            DATASETS=Node(
                TRAIN=train,
                DATASET_RATIO=[1.0] * len(train),
                DATASET_TYPE=list(kinds),
                DATASET_NEED_MAP=[False] * len(train),
                CACHE="",
            ),
            INPUT=Node(FORMAT="BGR", CAPTIONS=Node(**keys)),
        )

    return configured


def batches(cfg, number, start=0, **ranks):
    loader = train_loader_from_config(cfg, start, **ranks)
    try:
        return list(islice(loader, number))
    finally:
        loader.close()


def equal(first, second):
    pairs = [(a, b) for x, y in zip(first, second, strict=True) for a, b in zip(x, y, strict=True)]
    return all(
        a["caption"] == b["caption"] and a["index"] == b["index"] and torch.equal(a["image"], b["image"]) for a, b in pairs
    )


def test_caption_loader__records__image_and_caption_of_one_picture(make):
    """Catches a caption of another picture, and an image that is not RGB of the side asked for."""
    seen = set()
    for batch in batches(make(), 8):
        for record in batch:
            assert set(record) == {"image", "caption", "file_name", "index"}
            assert record["image"].shape == (3, 8, 8)
            assert record["image"].dtype == torch.uint8
            number = record["index"]
            assert record["caption"] in (f"number {number}", f"the {number}th")
            assert (record["image"] == 20 * number).all()
            assert record["file_name"].endswith(f"{number:02}.png")
            seen.add(record["caption"])
    assert len({caption.split()[0] for caption in seen}) == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_caption_loader__workers_or_resumed__same_batches(make, workers):
    """Catches anything that depends on the process, and a resumed run that sees other captions."""
    reference = batches(make(), 7)
    assert equal(batches(make(workers=workers), 7), reference)
    assert equal(batches(make(), 3, start=4), reference[4:])
    halves = [batches(make(), 7, rank=rank, world_size=2) for rank in range(2)]
    assert equal([a + b for a, b in zip(*halves, strict=True)], reference)


@pytest.mark.parametrize("workers", [0, 2])
def test_caption_loader__broken_or_silent__each_named_once_and_counted(make, caplog, workers):
    """Catches a broken picture that stops a run, an empty caption that is trained on, and a log that is flooded."""
    with caplog.at_level(logging.WARNING):
        loader = train_loader_from_config(make(workers=workers))
        records = [record for batch in islice(loader, 12) for record in batch]
        loader.close()
    assert not {record["index"] for record in records} & {*BROKEN, SILENT}
    named = [message for message in caplog.messages if "skipped" in message]
    for k in (*BROKEN, SILENT):
        assert sum(f"{k:02}.png" in message for message in named) == 1
    assert any("no caption that says anything" in message for message in named)
    assert any(message.startswith("3 pictures could not be read") for message in caplog.messages)


def test_caption_loader__nothing_usable__one_error(make, tmp_path):
    """Catches an endless search."""
    (tmp_path / "only").mkdir()
    for k in range(4):
        Image.new("RGB", (9, 9)).save(tmp_path / f"only/{k}.png")
    with pytest.raises(DataError, match="none of its 4 pictures can be used"):
        batches(make(train=(str(tmp_path / "only"),)), 1)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"SIZE": 0}, "INPUT.CAPTIONS.SIZE"),
        ({"MIN_AREA": 0.0}, "INPUT.CAPTIONS.MIN_AREA"),
        ({"ASPECT": (2.0, 1.0)}, "INPUT.CAPTIONS.ASPECT"),
        ({"INTERPOLATION": "cubic"}, "INPUT.CAPTIONS.INTERPOLATION"),
    ],
)
def test_caption_settings__wrong_value__key_named(make, keys, message):
    """Catches a misspelt word that is passed over."""
    with pytest.raises(ConfigError, match=message):
        train_loader_from_config(make(**keys))


def test_caption_mapper__crop_and_resize__as_pillow_and_without_aliasing(tmp_path):
    """Catches a crop that is not what was drawn, and a resize that skips pixels: stripes of one pixel must turn grey."""
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, ::2] = 255
    Image.fromarray(pixels).save(tmp_path / "s.png")
    (tmp_path / "s.txt").write_text("stripes")
    for interpolation in ("bicubic", "bilinear"):
        settings = CaptionSettings(8, (0.9, 1.0), interpolation=interpolation)
        image = CaptionMapper(read_caption_folder(tmp_path), settings)(0, np.random.default_rng(0))["image"]
        assert 100 < image.float().mean() < 155
        assert image.float().std() < 40
    half = np.zeros((64, 64, 3), np.uint8)
    half[:, :32] = 255
    Image.fromarray(half).save(tmp_path / "s.png")
    mapper = CaptionMapper(read_caption_folder(tmp_path), CaptionSettings(8, (1.0, 1.0), (1.0, 1.0), flip=True))
    left = [bool(mapper(0, np.random.default_rng(seed))["image"][0, 0, 0] > 127) for seed in range(40)]
    assert 8 < sum(left) < 32


def test_caption_mapper__large_jpeg__decoded_smaller_looks_the_same(tmp_path):
    """Catches coordinates that are not divided by what the decoder was asked to reduce by."""
    y, x = np.mgrid[:640, :800]
    image = Image.fromarray(np.stack([x * 255 // 800, y * 255 // 640, 0 * x], -1).astype(np.uint8))
    image.save(tmp_path / "a.jpg", quality=95)
    image.save(tmp_path / "b.png")
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text("ramp")
    mapper = CaptionMapper(read_caption_folder(tmp_path), CaptionSettings(32, (0.9, 1.0), (1.0, 1.6)))
    for seed in range(4):
        jpeg, png = (mapper(k, np.random.default_rng(seed))["image"].float() for k in range(2))
        assert (jpeg - png).abs().max() < 6


def test_resolve_captions__forms__found_or_explained(folder, tmp_path, monkeypatch):
    """Catches a registered name without a kind, and a wrong name without advice."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    make_word_world(tmp_path / "world_words", train_images=3, valid_images=2, size=(32, 48), workers=1)
    found = find_dataset("world_words_captions", "image_captions").read()
    assert len(found) == 3
    assert all(len(found.captions(k)) == 3 for k in range(3))
    assert with_kinds(["world_words_captions", "x"], ["image_captions"]) == [
        ("world_words_captions", "image_captions"),
        ("x", "image_captions"),
    ]
    assert "image_captions" in KINDS
    table = tmp_path / "pictures/t.csv"
    table.write_text("image,caption\n00.png,zero\n")
    assert resolve_captions(str(table)).read().captions(0) == ("zero",)
    assert len(resolve_captions(str(folder)).read()) == COUNT
    with pytest.raises(ConfigError, match=r"world_words_captions"):
        resolve_captions("world_words_caption")
    with pytest.raises(DataError, match="no such folder"):
        resolve_captions(str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="does not exist"):
        resolve_captions(f"{tmp_path}/none.json:{tmp_path}").read()


def test_caption_loader__mixed_with_other_kinds__refused(make, folder):
    """Catches batches of records that no model can read."""
    cfg = make(train=(str(folder), str(folder)), kinds=("image_captions", "image_views"))
    with pytest.raises(ConfigError, match="cannot be mixed"):
        train_loader_from_config(cfg)


def test_load_config__caption_keys__defaults():
    """Catches keys that the loader reads and no configuration has."""
    node = load_config(None, []).INPUT.CAPTIONS
    assert (node.SIZE, node.MIN_AREA, node.INTERPOLATION, node.IMAGE_COLUMN) == (224, 0.9, "bicubic", "")
