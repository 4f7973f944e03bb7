"""``load_config``: types, names, overrides, and every file of the repository."""

import contextlib

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dense import load_config
from dense.config.loading import default_config
from dense.errors import ConfigError


def test_load_config__every_file__loads(root):
    """Catches configurations in the repository that no longer load."""
    files = sorted((root / "configs").rglob("*.yaml"))
    assert len(files) >= 3
    for path in files:
        assert load_config(path).is_frozen()


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("SOLVER.BASE_LR", "1e-4", 0.0001),
        ("SOLVER.BASE_LR", "1", 1.0),
        ("SOLVER.MAX_ITER", "5.0", 5),
        ("SOLVER.STEPS", "[1, 2]", (1, 2)),
        ("SOLVER.STEPS", "(28000,)", (28000,)),
        ("DATASETS.TRAIN", "('a', 'b')", ("a", "b")),
        ("DATASETS.TRAIN", "('my/train.json:my/frames',)", ("my/train.json:my/frames",)),
        ("INPUT.AUGMENTATIONS", "('rotation',)", ["rotation"]),
        ("MODEL.DEVICE", "cpu", "cpu"),
        ("MODEL.WEIGHTS", "12", "12"),
        ("MODEL.MASK_ON", "True", True),
        ("MODEL.SWIN.QK_SCALE", "0.5", 0.5),
        ("MODEL.MASK_FORMER.TRANSFORMER_DECODER_NAME", "MultiScaleMaskedTransformerDecoder", "MaskedDecoder"),
    ],
)
def test_load_config__text_override__gets_the_type_of_the_default(key, text, value):
    """Catches numbers that stay text and text that becomes a number."""
    node = load_config(None, [key, text])
    for part in key.split("."):
        node = node[part]
    assert node == value
    assert type(node) is type(value)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("SOLVER.MAX_ITER", "many", ["SOLVER.MAX_ITER", "'many'", "int"]),
        ("SOLVER.MAX_ITER", "5.5", ["5.5", "int"]),
        ("SOLVER.MAX_ITER", None, ["SOLVER.MAX_ITER", "None", "int"]),
        ("SOLVER.MAX_ITER", True, ["True", "int"]),
        ("MODEL.MASK_ON", "1", ["MODEL.MASK_ON", "bool"]),
        ("DATASETS.TRAIN", "ytvis_2019_train", ["DATASETS.TRAIN", "tuple"]),
        ("SOLVER.STEPS", "5", ["SOLVER.STEPS", "tuple"]),
        ("MODEL.DEVICE", 5, ["MODEL.DEVICE", "str"]),
        ("SOLVER.MAX_ITER", {"A": 1}, ["SOLVER.MAX_ITER", "keys"]),
        ("SOLVER", "5", ["SOLVER", "expected keys below it"]),
        ("SOLVER.BASE_LR", "[" * 3000, ["SOLVER.BASE_LR", "float"]),
        ("SOLVER.BASE_LR", "{[]: 1}", ["SOLVER.BASE_LR", "float"]),
    ],
)
def test_load_config__wrong_type__names_key_value_and_type(key, value, words):
    """Catches a wrong value that surfaces only hours later, and foreign errors on odd text."""
    with pytest.raises(ConfigError) as caught:
        load_config(None, [key, value])
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("SOLVER.BASELR", "SOLVER.BASE_LR"),
        ("MODEL.WETGHTS", "MODEL.WEIGHTS"),
        ("MODEL.TRACKER.DECODER_LAYER", "MODEL.TRACKER.DECODER_LAYERS"),
        ("SOLVR.MAX_ITER", "SOLVER"),
        ("MODEL.MASK_FORMER.TEST.MAXNUM", "MODEL.MASK_FORMER.TEST.MAX_NUM"),
    ],
)
def test_load_config__misspelt_key__suggests_the_nearest(key, nearest):
    """Catches typing errors accepted as new keys."""
    with pytest.raises(ConfigError, match=f"unknown key .*Did you mean '{nearest}'"):
        load_config(None, [key, "1"])


@pytest.mark.parametrize("key", ["", ".", "SOLVER.", "SOLVER..MAX_ITER", "SOLVER.MAX_ITER.DEEPER"])
def test_load_config__broken_key__raises(key):
    """Catches foreign errors on keys with empty parts or parts below a value."""
    with pytest.raises(ConfigError):
        load_config(None, [key, "1"])


def test_load_config__later_override_wins_over_file(yaml_file):
    """Catches the order of file and command line turned round."""
    path = yaml_file("SOLVER:\n  MAX_ITER: 7\n  BASE_LR: 0.5\n")
    cfg = load_config(path, ["SOLVER.MAX_ITER", "8", "SOLVER.MAX_ITER", "9"])
    assert (cfg.SOLVER.MAX_ITER, cfg.SOLVER.BASE_LR) == (9, 0.5)


def test_load_config__twice__do_not_share_values():
    """Catches a default changed in place by an earlier configuration."""
    load_config(None, ["SOLVER.MAX_ITER", "3", "INPUT.AUGMENTATIONS", "['rotation']"])
    assert load_config().SOLVER.MAX_ITER == default_config().SOLVER.MAX_ITER != 3
    assert load_config().INPUT.AUGMENTATIONS == []


def test_load_config__dump__reads_back(yaml_file):
    """Catches a written configuration (kept beside each run) that does not load."""
    cfg = load_config(None, ["SOLVER.MAX_ITER", "3", "SOLVER.STEPS", "(1, 2)", "DATASETS.TRAIN", "('a',)"])
    again = load_config(yaml_file(cfg.dump()))
    assert yaml.safe_load(again.dump()) == yaml.safe_load(cfg.dump())


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from(["SOLVER.MAX_ITER", "MODEL", "MODEL.DEVICE", "SOLVER.STEPS", "MODEL.SWIN.QK_SCALE"]), value=VALUES)
def test_load_config__any_value__loads_or_raises_our_error(key, value):
    """Catches any foreign exception on a value of any kind."""
    with contextlib.suppress(ConfigError):
        assert load_config(None, [key, value]).is_frozen()
