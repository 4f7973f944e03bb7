"""Numbers and names of a configuration that fit no segmenter: one line that names the key, never torch's own words."""

import pytest
import torch

from dense import build_model, load_config
from dense.errors import ConfigError

TINY = "configs/world/minvis_lite0.yaml"
HEAD, FORMER = "MODEL.SEM_SEG_HEAD", "MODEL.MASK_FORMER"


def build(root, *options):
    cfg = load_config(root / TINY, ["MODEL.DEVICE", "meta", "MODEL.TIMM.WEIGHTS", "", *options])
    with torch.device("meta"):
        return build_model(cfg)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (f"{HEAD}.CONVS_DIM", 40, "40, expected a multiple of 32"),
        (f"{HEAD}.CONVS_DIM", 0, "0, expected 1 or more"),
        (f"{HEAD}.MASK_DIM", 0, "0, expected 1 or more"),
        (f"{HEAD}.NUM_CLASSES", 0, "0, expected 1 or more"),
        (f"{HEAD}.NORM", "GM", "unknown 'GM'"),
        (f"{HEAD}.TRANSFORMER_ENC_LAYERS", -1, "-1, expected 0 or more"),
        (f"{HEAD}.COMMON_STRIDE", 3, "3, expected 4 or 8"),
        (f"{HEAD}.IN_FEATURES", ["res3", "res4", "res5", "res6"], r"\['res6'\], expected some of the backbone's"),
        (f"{HEAD}.DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES", ["p3"], r"\['p3'\], expected some of"),
        (f"{HEAD}.DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES", [], r"\[\], expected some of"),
        (f"{FORMER}.HIDDEN_DIM", 100, r"100, expected a multiple of 8 \(MODEL\.MASK_FORMER\.NHEADS\)"),
        (f"{FORMER}.HIDDEN_DIM", 2, "2, expected a multiple of 4"),
        (f"{FORMER}.NHEADS", 0, "0, expected 1 or more"),
        (f"{FORMER}.NUM_OBJECT_QUERIES", 0, "0, expected 1 or more"),
        (f"{FORMER}.NUM_OBJECT_QUERIES", -5, "-5, expected 1 or more"),
        (f"{FORMER}.DEC_LAYERS", 0, "0, expected 1 or more"),
        (f"{FORMER}.DIM_FEEDFORWARD", 0, "0, expected 1 or more"),
        (f"{FORMER}.TRAIN_NUM_POINTS", 0, "0, expected 1 or more"),
        (f"{FORMER}.OVERSAMPLE_RATIO", 0.5, "0.5, expected 1 or more"),
        (f"{FORMER}.IMPORTANCE_SAMPLE_RATIO", 1.5, "1.5, expected 0 to 1"),
        (f"{FORMER}.DROPOUT", 1.5, "1.5, expected 0 to 1"),
        (f"{FORMER}.DICE_WEIGHT", -1.0, "-1.0, expected 0 or more"),
        ("TEST.DETECTIONS_PER_IMAGE", 0, "0, expected 1 or more"),
        ("MODEL.PIXEL_STD", [1.0, 0.0, 1.0], "PIXEL_STD .*deviations above 0"),
        ("MODEL.PIXEL_MEAN", [1.0], "PIXEL_MEAN .*three numbers each"),
        (f"{FORMER}.TEST.WINDOW_SIZE", 0, "0, expected 1 or more"),
        (f"{FORMER}.TEST.MAX_NUM", 0, "0, expected 1 or more"),
        (f"{FORMER}.TEST.PRESENCE_THRESHOLD", 2.0, "2.0, expected 0 to 1"),
        ("MODEL.ASSOCIATION.DECAY", 1.5, "1.5, expected 0 to 1"),
    ],
)
def test_build_model__impossible_value__names_key_value_and_expectation(root, key, value, words):
    """Catches GroupNorm's, MultiheadAttention's and topk's own errors, and models that are built and cannot work."""
    with pytest.raises(ConfigError, match=words) as caught:
        build(root, key, value)
    assert key.rsplit(".", 1)[-1] in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        (f"{FORMER}.DEC_LAYERS", 1),
        (f"{HEAD}.TRANSFORMER_ENC_LAYERS", 0),
        (f"{FORMER}.NUM_OBJECT_QUERIES", 1),
        (f"{FORMER}.IMPORTANCE_SAMPLE_RATIO", 0.0, f"{FORMER}.OVERSAMPLE_RATIO", 1.0),
        (f"{HEAD}.COMMON_STRIDE", 8),
        (f"{HEAD}.NORM", ""),
    ],
)
def test_build_model__value_at_the_edge__builds(root, options):
    """Catches checks that refuse what works."""
    assert sum(p.numel() for p in build(root, *options).parameters()) > 1000
