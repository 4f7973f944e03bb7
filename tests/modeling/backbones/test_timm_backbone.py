"""timm backbones: strides, frozen stages, frozen statistics."""

import pytest
import torch
from torch import nn

from dense.errors import ConfigError
from dense.modeling.backbones import TimmBackbone

FEATURES = ["res2", "res3", "res4", "res5"]


@pytest.fixture(scope="module")
def backbone():
    return TimmBackbone(name="tf_efficientnet_lite0", out_features=FEATURES, freeze_at=2)


def test_timm_backbone__output_shape__is_what_comes_out(backbone):
    """Catches channels or strides announced under another feature's name."""
    with torch.no_grad():
        maps = backbone(torch.zeros(1, 3, 64, 96))
    shapes = backbone.output_shape()
    assert list(shapes) == FEATURES
    assert [shapes[f].stride for f in FEATURES] == [4, 8, 16, 32]
    for name, spec in shapes.items():
        assert maps[name].shape == (1, spec.channels, 64 // spec.stride, 96 // spec.stride)


def test_timm_backbone__freeze_at_2__res2_gets_no_gradient_the_rest_does(backbone):
    """Catches stages counted from elsewhere: exactly the parameters that res2 depends on are frozen."""
    frozen = {n for n, p in backbone.named_parameters() if not p.requires_grad}
    open_backbone = TimmBackbone(name="tf_efficientnet_lite0", out_features=FEATURES)
    assert all(p.requires_grad for p in open_backbone.parameters())
    open_backbone(torch.randn(1, 3, 64, 64))["res2"].sum().backward()
    used = {n for n, p in open_backbone.named_parameters() if p.grad is not None}
    assert frozen == used
    assert 0 < len(frozen) < len(list(backbone.parameters()))


def test_timm_backbone__training__statistics_stay():
    """Catches batch-norm statistics that drift in training although they are to be kept."""
    backbone = TimmBackbone(name="tf_efficientnet_lite0", out_features=["res2"])
    norms = [m for m in backbone.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    before = [n.running_mean.clone() for n in norms]
    backbone.train()
    assert backbone.training
    backbone(torch.randn(2, 3, 32, 32))
    assert all(torch.equal(n.running_mean, b) for n, b in zip(norms, before, strict=True))
    moving = TimmBackbone(name="tf_efficientnet_lite0", out_features=["res2"], freeze_norm=False).train()
    moving(torch.randn(2, 3, 32, 32))
    assert any(m.running_mean.abs().sum() > 0 for m in moving.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))


def test_timm_backbone__no_map_at_a_stride__raises():
    """Catches an index error for networks without stride-4 maps."""
    with pytest.raises(ConfigError, match=r"nothing for \['res2'"):
        TimmBackbone(name="vit_tiny_patch16_224", out_features=["res2", "res3"])
