"""Repeat-factor sampling: factors by hand, how often, other augmentation in each turn, exact resume."""

from itertools import islice
from types import SimpleNamespace as Node

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dense.config.loading import load_config
from dense.data.loaders import train_loader_from_config
from dense.data.loaders.repeats import RepeatingSampler, repeat_factors
from dense.data.loaders.repeats_config import repeats_from_config
from dense.data.world import make_word_world
from dense.errors import ConfigError


def test_repeat_factors__by_hand__root_of_threshold_over_share_of_the_rarest():
    """Catches objects counted instead of images, the mean instead of the maximum, and factors below one."""
    categories = [[1, 1, 1], [1, 2], [1], [1, 3, 2], []]
    expected = [1.0, np.sqrt(0.5 / 0.4), 1.0, np.sqrt(0.5 / 0.2), 1.0]
    assert repeat_factors(categories, 0.5) == pytest.approx(expected)
    assert repeat_factors(categories, 0.5, sqrt=False) == pytest.approx([1, 1.25, 1, 2.5, 1])
    assert (repeat_factors(categories, 0.001) == 1).all()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(1, 5), min_size=1, max_size=30), st.integers(0, 99))
def test_repeating_sampler__any_factors__whole_part_or_one_more_each_epoch(factors, seed):
    """Catches samples that are missed, seen too often, or with equal keys, which would be augmented equally."""
    sampler = RepeatingSampler.of_factors(np.array(factors), 1, seed)
    length = sampler.length
    assert length == int(np.ceil(sum(factors) - 1e-9))
    keys = [sampler.batch(step)[0] for step in range(2 * length)]
    assert len(set(keys)) == 2 * length
    for epoch in range(2):
        counts = np.bincount([index for _, _, index in keys[epoch * length : (epoch + 1) * length]], minlength=len(factors))
        step = sum(factors) / length
        assert (counts >= np.floor(np.array(factors) / step - 1e-9)).all()
        assert (counts <= np.ceil(np.array(factors) / step + 1e-9)).all()
        assert (counts >= 1).all()


def test_repeating_sampler__many_epochs__mean_is_the_factor():
    """Catches a fraction that is always rounded the same way."""
    factors = np.array([1.0, 1.25, 1.5, 2.75, 1.0, 3.1] * 4)
    sampler = RepeatingSampler.of_factors(factors, 1, 5)
    epochs = 400
    counts = np.zeros(len(factors))
    for step in range(epochs * sampler.length):
        counts[sampler.batch(step)[0][2]] += 1
    assert counts / epochs == pytest.approx(factors * sampler.length / factors.sum(), abs=0.12)


def test_repeating_sampler__any_step_and_rank__same_keys():
    """Catches an order that depends on what was asked before: a resumed run would see other images."""
    factors = np.array([1.0, 2.5, 1.3, 4.0, 1.0])
    reference = [RepeatingSampler.of_factors(factors, 4, 9).batch(step) for step in range(30)]
    backwards = RepeatingSampler.of_factors(factors, 4, 9)
    assert [backwards.batch(step) for step in range(29, -1, -1)][::-1] == reference
    parts = [RepeatingSampler.of_factors(factors, 4, 9, rank, 2) for rank in range(2)]
    assert [parts[0].batch(step) + parts[1].batch(step) for step in range(30)] == reference
    assert RepeatingSampler.of_factors(factors, 4, 10).batch(0) != reference[0]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    make_word_world(root / "world_words", train_images=12, valid_images=2, size=(48, 64), workers=1)
    return root


@pytest.fixture
def cfg(world, monkeypatch):
    """A detector that trains on the base boxes of the world of words, images of rare categories more often."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(world))
    keys = {
        "MODEL.META_ARCHITECTURE": "GeneralizedRCNN",
        "MODEL.ROI_HEADS.NUM_CLASSES": 44,
        "MODEL.MASK_ON": True,
        "DATASETS.TRAIN": ("world_words_train",),
        "INPUT.MIN_SIZE_TRAIN": (48,),
        "SOLVER.IMS_PER_BATCH": 2,
        "DATALOADER.NUM_WORKERS": 0,
        "DATALOADER.SAMPLER_TRAIN": "RepeatFactorTrainingSampler",
        "DATALOADER.REPEAT_THRESHOLD": 0.5,
    }
    found = load_config(None, [item for pair in keys.items() for item in pair])
    found.defrost()
    return found


def seen(cfg, number, start=0):
    loader = train_loader_from_config(cfg, start)
    batches = [[(r["file_name"], tuple(r["instances"].labels.tolist())) for r in batch] for batch in islice(loader, number)]
    loader.close()
    return batches


def test_train_loader__federated_set_with_repeats__resumes_and_repeats(cfg):
    """Catches a sampler that the configuration does not reach, and classes that are not those of the base categories."""
    reference = seen(cfg, 20)
    assert seen(cfg, 12, start=8) == reference[8:]
    labels = {label for batch in reference for _, labels in batch for label in labels}
    assert labels <= set(range(44))
    names = [name for batch in reference[:6] for name, _ in batch]
    assert len(set(names)) < len(names)
    cfg.DATALOADER.SAMPLER_TRAIN = "TrainingSampler"
    names = [name for batch in seen(cfg, 6) for name, _ in batch]
    assert len(set(names)) == len(names)


def test_repeats_from_config__wrong_values__key_named(cfg):
    """Catches a misspelt sampler that is passed over, and captions that would be repeated by chance."""
    cfg.DATALOADER.REPEAT_THRESHOLD = 0.0
    with pytest.raises(ConfigError, match=r"DATALOADER\.REPEAT_THRESHOLD: 0"):
        train_loader_from_config(cfg)
    cfg.DATALOADER.REPEAT_THRESHOLD = 0.1
    with pytest.raises(ConfigError, match="needs training sets of kind"):
        repeats_from_config(cfg, [Node(mapper=None)])
    cfg.DATALOADER.SAMPLER_TRAIN = "RepeatFactorSampler"
    with pytest.raises(ConfigError, match=r"SAMPLER_TRAIN: unknown 'RepeatFactorSampler'.*RepeatFactorTrainingSampler"):
        train_loader_from_config(cfg)
