"""Detectron2's ResNets as our configurations build them, against the reference's numbers."""

import pytest
import torch
from detectron2.modeling import build_backbone

from dense import load_config


@pytest.mark.golden
@pytest.mark.parametrize(("depth", "file", "prefix"), [(50, "mask2former.npz", "r50."), (101, "backbones.npz", "r101.")])
def test_resnet__reference_weights__equal_reference(golden, parity, root, depth, file, prefix):
    """Catches a stride in the wrong convolution, another stem, or norms that are not frozen."""
    arrays = parity.Arrays(golden(file), prefix)
    cfg = load_config(root / "configs" / "dvis" / "base_r50.yaml", ["MODEL.RESNETS.DEPTH", depth])
    backbone = build_backbone(cfg).eval()
    shapes = arrays.shapes()
    assert {f"backbone.{k}": list(v.shape) for k, v in backbone.state_dict().items()} == shapes
    parity.load_filled(backbone, "backbone.")
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD))
    with torch.no_grad():
        maps = backbone(((arrays.tensor("64x96.image") - mean) / std)[None])
    for name in ("res2", "res3", "res4", "res5"):
        assert arrays.distance(f"64x96.{name}", maps[name]) < 1e-4
