"""Shipped configurations: their PRETRAIN and MODEL keys build, and differ from the base in what their name says."""

from pathlib import Path

import pytest
import torch
from detectron2.modeling import META_ARCH_REGISTRY

from dense import load_config
from dense.config.loading import default_config
from dense.config.reader import read_yaml_chain

FOLDER = Path(__file__).resolve().parents[3] / "configs" / "pixpro"
FILES = sorted(p.relative_to(FOLDER).as_posix() for p in FOLDER.rglob("*.yaml") if "transfer" not in p.parts)


def known(values, cfg):
    """The part of a file that this checkout has keys for."""
    return {k: known(v, cfg[k]) if isinstance(v, dict) else v for k, v in values.items() if k in cfg}


def flat(values, prefix=""):
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def options(name):
    """KEY VALUE pairs of a file; keys of the data and solver parts are left to their own tests where they are missing."""
    values = known({k: v for k, v in read_yaml_chain(FOLDER / name).items() if k in ("MODEL", "PRETRAIN")}, default_config())
    return [item for pair in flat(values) for item in pair]


@pytest.mark.parametrize("name", FILES)
def test_config__each_file__builds(name):
    """Catches a key, a part or a combination that no longer exists."""
    values = read_yaml_chain(FOLDER / name)
    instance = values["PRETRAIN"].get("INSTANCE", {}).get("NAME", "")
    cfg = load_config(None, options(name))
    with torch.device("meta"):
        model = META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)(cfg)
    assert (model.instance is not None) == bool(instance)
    assert values["DATASETS"]["DATASET_TYPE"] == ["image_views"]


def test_configs__common_values__are_the_published_ones():
    """Catches a recipe that follows the option defaults of the official code instead of its scripts (section 11)."""
    values = read_yaml_chain(FOLDER / "pixpro_r50_400ep.yaml")
    assert values["SOLVER"]["EPOCHS"] == 400
    assert (values["SOLVER"]["BASE_LR"], values["SOLVER"]["WEIGHT_DECAY"], values["SOLVER"]["IMS_PER_BATCH"]) == (
        1.0,
        1e-5,
        1024,
    )
    assert values["INPUT"]["VIEWS"] == {"SIZE": 224, "MIN_AREA": 0.08, "TRANSFORM": "BYOL"}
    pretrain = load_config(None, options("pixpro_r50_400ep.yaml")).PRETRAIN
    assert (pretrain.SHARPNESS, pretrain.POSITIVE_THRESHOLD, pretrain.TRANSFORM_LAYERS, pretrain.MOMENTUM) == (2, 0.7, 1, 0.99)
    assert pretrain.INSTANCE.NAME == ""


def test_configs__tiny_pair__differ_in_the_loss_only():
    """Catches a comparison of two methods that are trained differently."""
    ours, other = read_yaml_chain(FOLDER / "world_tiny.yaml"), read_yaml_chain(FOLDER / "world_tiny_instance.yaml")
    assert {k: v for k, v in ours.items() if k != "PRETRAIN"} == {k: v for k, v in other.items() if k != "PRETRAIN"}
    assert other["PRETRAIN"]["OBJECTIVE"] == "none"
