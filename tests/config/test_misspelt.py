"""Keys that no configuration has: one line that names the one that was meant."""

import itertools

import pytest
from detectron2.config import CfgNode, get_cfg

from dense import load_config
from dense.config.loading import default_config
from dense.errors import ConfigError, shown


def keys_of(cfg, prefix=""):
    for name, value in cfg.items():
        yield f"{prefix}{name}"
        if isinstance(value, CfgNode):
            yield from keys_of(value, f"{prefix}{name}.")


def as_yaml(key):
    """The key in a file, level below level."""
    parts = key.split(".")
    return "".join(f"{'  ' * depth}{part}:{' 1' if part is parts[-1] else ''}\n" for depth, part in enumerate(parts))


def slips(name):
    """Ways to misspell a name."""
    middle = len(name) // 2
    yield name + name[-1]
    yield name.lower()
    if len(name) > 3:
        yield name[:middle] + name[middle + 1 :]
        yield name[: middle - 1] + name[middle] + name[middle - 1] + name[middle + 1 :]
    if "_" in name:
        yield name.replace("_", "")


def error_of(path):
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 800
    return message


def test_load_config__each_key_of_ours_misspelt_in_a_file__is_suggested(yaml_file):
    """Catches a key of the library or a project that is accepted misspelt, or for which another one is suggested."""
    known = set(keys_of(default_config()))
    own = sorted(known - set(keys_of(get_cfg())))
    assert {"MODEL.TRACKER.NOISE_RATIO", "INPUT.PSEUDO.CROP.SIZE", "MODEL.REFINER"} <= set(own)
    for n, key in enumerate(own):
        above, dot, name = key.rpartition(".")
        siblings = [other.rpartition(".")[2] for other in known if other.rpartition(".")[0] == above and other != key]
        others = {word for sibling in siblings for word in slips(sibling)}  # slips that two keys share mean neither
        wrong = [word for word in slips(name) if f"{above}{dot}{word}" not in known and word not in others]
        word = next(itertools.islice(wrong, n % len(wrong), None))
        message = error_of(yaml_file(f"_BASE_: base.yaml\n{as_yaml(f'{above}{dot}{word}')}", "heir.yaml"))
        assert f"heir.yaml: unknown key {shown(f'{above}{dot}{word}')}. Did you mean '{key}'" in message, message


@pytest.fixture(autouse=True)
def _base(yaml_file):
    yaml_file("VERSION: 2\n", "base.yaml")


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("MASK_FORMER.NUM_OBJECT_QUERIES", "'MODEL.MASK_FORMER'"),
        ("MODEL.NUM_OBJECT_QUERIES", "'MODEL.MASK_FORMER.NUM_OBJECT_QUERIES'"),
        ("MODEL.NUM_OBJECT_QUERY", "'MODEL.MASK_FORMER.NUM_OBJECT_QUERIES'"),
        ("MODEL.MASK_FORMER.NOISE_MODE", "'MODEL.TRACKER.NOISE_MODE'"),
        ("SOLVER.MIN_SIZE_TEST", "'INPUT.MIN_SIZE_TEST'"),
        ("MODEL.SEM_SEG_HEAD.CONV_DIM", "'MODEL.SEM_SEG_HEAD.CONVS_DIM' or "),
        ("model.tracker.use_cl", "'MODEL'"),
    ],
)
def test_load_config__key_at_the_wrong_level__its_place_is_suggested(yaml_file, key, meant):
    """Catches a suggestion that looks only where the key does not belong."""
    assert f"Did you mean {meant}" in error_of(yaml_file(as_yaml(key)))


def test_load_config__key_like_no_other__lists_the_level(yaml_file):
    """Catches a far-fetched suggestion where none is near."""
    message = error_of(yaml_file(as_yaml("DATALOADER.XYZZY")))
    assert message.endswith("DATALOADER.SAMPLER_TRAIN.")
    assert "Known: DATALOADER.ASPECT_RATIO_GROUPING, " in message
