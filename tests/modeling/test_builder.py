"""``build_model`` and the names in a configuration: an unknown one suggests the nearest."""

import pytest
import torch

from dense import build_model, load_config
from dense.errors import CheckpointError, ConfigError

TINY = "configs/world/minvis_lite0.yaml"


@pytest.mark.parametrize(
    ("key", "value", "nearest"),
    [
        ("MODEL.META_ARCHITECTURE", "VideoSegmentor", "VideoSegmenter"),
        ("MODEL.BACKBONE.NAME", "build_resnet_backbon", "build_resnet_backbone"),
        ("MODEL.SEM_SEG_HEAD.NAME", "SegmentHead", "SegmenterHead"),
        ("MODEL.SEM_SEG_HEAD.PIXEL_DECODER_NAME", "DeformablePixelDecode", "DeformablePixelDecoder"),
        ("MODEL.MASK_FORMER.TRANSFORMER_DECODER_NAME", "MaskDecoder", "MaskedDecoder"),
        ("MODEL.MASK_FORMER.MATCHER_NAME", "HungarianMatch", "HungarianMatcher"),
        ("MODEL.MASK_FORMER.CRITERION_NAME", "SetCriterium", "SetCriterion"),
        ("MODEL.TIMM.NAME", "tf_efficientnet_lite00", "tf_efficientnet_lite0"),
    ],
)
def test_build_model__unknown_part__suggests_the_nearest(root, key, value, nearest):
    """Catches foreign KeyErrors with a list of two hundred names."""
    cfg = load_config(root / TINY, ["MODEL.DEVICE", "meta", "MODEL.TIMM.WEIGHTS", "", key, value])
    with torch.device("meta"), pytest.raises(ConfigError, match=rf"{value}'.*Did you mean '{nearest}'"):
        build_model(cfg)


@pytest.mark.parametrize("device", ["gpu", "cuda:99" if not torch.cuda.is_available() else "nowhere"])
def test_build_model__device_not_there__raises(root, device):
    """Catches a foreign error from torch; the cure is named."""
    cfg = load_config(root / TINY, ["MODEL.TIMM.WEIGHTS", "", "MODEL.DEVICE", device])
    with pytest.raises(ConfigError, match=f"MODEL.DEVICE: '{device}'"):
        build_model(cfg)


def test_build_model__weights_missing__names_the_file(root, tmp_path):
    """Catches random weights in silence when the file is not there."""
    weights = str(tmp_path / "no.safetensors")
    cfg = load_config(root / TINY, ["MODEL.WEIGHTS", weights])
    with pytest.raises(CheckpointError, match=r"no\.safetensors"):
        build_model(cfg)


def test_build_model__transformer_in_feature__only_the_supported_one(root):
    """Catches a model of the older kind built as something else."""
    cfg = load_config(root / TINY, ["MODEL.TIMM.WEIGHTS", "", "MODEL.MASK_FORMER.TRANSFORMER_IN_FEATURE", "res5"])
    with pytest.raises(ConfigError, match=r"TRANSFORMER_IN_FEATURE: 'res5'"):
        build_model(cfg)


def test_build_model__every_config__builds(root):
    """Catches configurations that load and then do not build; built without memory on the meta device.

    Those of published rows are built beside their key lists (tests/projects/dvis/test_official_manifests.py).
    """
    files = [p for p in (root / "configs").rglob("*.yaml") if not p.name.startswith("base") and "dvis" not in p.parts]
    assert files
    for path in files:
        cfg = load_config(path, ["MODEL.DEVICE", "meta", "MODEL.WEIGHTS", "", "MODEL.TIMM.WEIGHTS", ""])
        with torch.device("meta"):
            model = build_model(cfg)
        assert sum(p.numel() for p in model.parameters()) > 1000, path
