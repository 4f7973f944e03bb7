"""Files in the official style: names translated, fixed values kept, keys without effect listed."""

import logging
import re

import pytest
from detectron2.modeling import META_ARCH_REGISTRY

from dense import load_config
from dense.config import official
from dense.config.reader import read_yaml_chain


@pytest.fixture
def minvis(root):
    return root / "tests" / "data" / "configs" / "MinVIS_R50.yaml"


def test_load_config__official_file__our_names(minvis):
    """Catches official names that reach the registries, and values of the base lost on the way."""
    cfg = load_config(minvis)
    assert cfg.MODEL.META_ARCHITECTURE == "VideoSegmenter"
    assert cfg.MODEL.SEM_SEG_HEAD.NAME == "SegmenterHead"
    assert cfg.MODEL.SEM_SEG_HEAD.PIXEL_DECODER_NAME == "DeformablePixelDecoder"
    assert cfg.MODEL.MASK_FORMER.TRANSFORMER_DECODER_NAME == "MaskedDecoder"
    assert cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE == "full_model"  # from the base
    assert cfg.SOLVER.MAX_ITER == 40000  # from the file
    assert cfg.MODEL.MASK_FORMER.TEST.MAX_NUM == 10  # fixed in the official code, 20 by default


@pytest.mark.parametrize("name", ["MinVIS_R50", "CTVIS_R50"])
def test_load_config__official_file__same_model_as_ours(minvis, root, name):
    """Catches our own configuration drifting away from the official one in what the model is made of and how it is trained."""
    official, own = (
        load_config(minvis.with_name(f"{name}.yaml")),
        load_config(root / f"configs/dvis/ytvis19/{name.lower()}.yaml"),
    )
    theirs, ours = official.MODEL, own.MODEL
    for node in ("MASK_FORMER", "SEM_SEG_HEAD", "BACKBONE", "CL_PLUGIN"):
        assert theirs[node] == ours[node], node
    for key in ("BASE_LR", "STEPS", "MAX_ITER", "IMS_PER_BATCH", "OPTIMIZER", "BACKBONE_MULTIPLIER"):
        assert official.SOLVER[key] == own.SOLVER[key], key
    for key in ("SAMPLING_FRAME_NUM", "SAMPLING_FRAME_RANGE"):
        assert official.INPUT[key] == own.INPUT[key], key
    for key in ("DEPTH", "STRIDE_IN_1X1", "OUT_FEATURES", "STEM_OUT_CHANNELS", "NORM"):
        assert theirs.RESNETS[key] == ours.RESNETS[key]
    assert (theirs.PIXEL_MEAN, theirs.PIXEL_STD) == (ours.PIXEL_MEAN, ours.PIXEL_STD)


def test_load_config__keys_without_effect__are_listed(minvis, caplog):
    """Catches official keys that change nothing and say nothing; keys the file does not set are not listed."""
    with caplog.at_level(logging.INFO, logger="dense.config.loading"):
        load_config(minvis)
    (message,) = [r.getMessage() for r in caplog.records if "no effect" in r.getMessage()]
    for key in ("MODEL.RESNETS.STEM_TYPE", "MODEL.RESNETS.RES5_MULTI_GRID", "MODEL.MASK_FORMER.ENC_LAYERS"):
        assert key in message
    assert "MODEL.SEM_SEG_HEAD.LOSS_WEIGHT" in message
    assert "ASPP" not in message
    assert "MinVIS_R50.yaml" in message


def test_load_config__override_max_num__wins_over_the_fixed_value(minvis):
    """Catches a fixed value that the user cannot change."""
    assert load_config(minvis, ["MODEL.MASK_FORMER.TEST.MAX_NUM", "3"]).MODEL.MASK_FORMER.TEST.MAX_NUM == 3


def test_names__official__are_registered_by_nobody_of_ours():
    """Catches a part registered under an official name: importing Mask2Former beside us would crash."""
    from dense.modeling import registries
    from dense.modeling.builder import build_model  # noqa: F401  registers the parts

    for key, names in official.NAMES.items():
        for theirs, ours in names.items():
            assert theirs not in META_ARCH_REGISTRY, key
            assert theirs != ours
            for registry in (registries.PIXEL_DECODERS, registries.MASK_DECODERS):
                assert theirs not in registry


def test_load_config__unsupported_keys__warn_where_they_ask_for_something(tmp_path, caplog):
    """Catches a wish that is passed over in silence; a key set to what is done anyway is no wish."""
    path = tmp_path / "file.yaml"
    path.write_text("INPUT: {SIZE_DIVISIBILITY: 640}\nTEST: {AUG: {ENABLED: False}}\nSOLVER: {REFERENCE_WORLD_SIZE: 8}\n")
    load_config(path)
    (record,) = [r for r in caplog.records if r.name == "dense.config.loading"]
    assert record.levelno == logging.WARNING
    assert "not supported, passed over: INPUT.SIZE_DIVISIBILITY 640, SOLVER.REFERENCE_WORLD_SIZE 8" in record.getMessage()


def read_by_the_code(root, key):
    """Whether a module mentions the key's last two names side by side, or its last one alone where that is telling."""
    *_, node, last = key.split(".")
    word = rf"{node}\.{last}" if last in {"ENABLED", "SIZE_DIVISIBILITY"} else last
    lists = {"dense/config/keys.py", "dense/config/official.py", "projects/dvis/config.py"}
    files = [p for folder in ("dense", "projects") for p in (root / folder).rglob("*.py")]
    files = [p for p in files if str(p.relative_to(root)).removeprefix("dense/projects/dvis") not in {*lists, "/config.py"}]
    return any(re.search(rf"\b{word}\b", p.read_text(encoding="utf-8")) for p in files)


def test_lists__no_key_is_read(root):
    """Catches a key that is said to change nothing although a part has begun to read it."""
    assert read_by_the_code(root, "MODEL.MASK_FORMER.DEC_LAYERS")  # the search finds something at all
    read = [key for key in official.WITHOUT_EFFECT | official.UNSUPPORTED if read_by_the_code(root, key)]
    assert read == []


def test_lists__our_own_files__set_none_of_them(root):
    """Catches our own files asking for what is not done."""
    for path in sorted((root / "configs").rglob("*.yaml")):
        values = read_yaml_chain(path)
        assert not official.keys_among(values, official.WITHOUT_EFFECT | official.UNSUPPORTED), path


def test_lists__all_keys__exist():
    """Catches a listed key that no configuration knows (a typing error in the list)."""
    cfg = load_config()
    for key in official.WITHOUT_EFFECT | official.UNSUPPORTED:
        node = cfg
        for part in key.split("."):
            assert part in node, key
            node = node[part]
