"""Detectron2's ResNet-50 as our configurations build it, against the reference's numbers."""

import pytest
import torch
from detectron2.modeling import build_backbone

from dense import load_config


@pytest.mark.golden
def test_resnet50__reference_weights__equal_reference(golden, parity, root):
    """Catches a stride in the wrong convolution, another stem, or norms that are not frozen."""
    arrays = parity.Arrays(golden("mask2former.npz"), "r50.")
    cfg = load_config(root / "configs" / "dvis" / "base_r50.yaml")
    backbone = build_backbone(cfg).eval()
    shapes = arrays.shapes()
    assert {f"backbone.{k}": list(v.shape) for k, v in backbone.state_dict().items()} == shapes
    parity.load_filled(backbone, "backbone.")
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD))
    with torch.no_grad():
        maps = backbone(((arrays.tensor("64x96.image") - mean) / std)[None])
    for name in ("res2", "res3", "res4", "res5"):
        assert arrays.distance(f"64x96.{name}", maps[name]) < 1e-4
