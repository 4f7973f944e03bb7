"""Any timm backbone with feature maps as a Detectron2 backbone."""

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from torch import Tensor, nn

from dense.checkpoint.pretrained import load_in_order
from dense.errors import ConfigError

__all__ = ["TimmBackbone"]

_STRIDES = {"res2": 4, "res3": 8, "res4": 16, "res5": 32}


@BACKBONE_REGISTRY.register()
class TimmBackbone(Backbone):
    """Feature maps at strides 4, 8, 16, 32 under the names res2 … res5."""

    @configurable
    def __init__(
        self, *, name: str, out_features: Sequence[str], weights: str = "", freeze_norm: bool = True, freeze_at: int = 0
    ) -> None:
        super().__init__()
        import timm  # 4 seconds; only who uses it pays

        if not timm.is_model(name):
            raise ConfigError(f"MODEL.TIMM.NAME: timm has no model {name!r}.{_similar(name)}")
        self.body = timm.create_model(name, features_only=True, pretrained=False)
        info: Any = self.body.feature_info
        strides: list[int] = info.reduction()
        channels: list[int] = info.channels()
        missing = [f for f in out_features if _STRIDES.get(f) not in strides]
        if missing:
            raise ConfigError(f"MODEL.TIMM: {name!r} has strides {strides}, nothing for {missing}.")
        self._index = {f: strides.index(_STRIDES[f]) for f in out_features}
        self._out_features = list(out_features)
        self._out_feature_strides = {f: _STRIDES[f] for f in out_features}
        self._out_feature_channels = {f: channels[i] for f, i in self._index.items()}
        self.freeze_norm = freeze_norm
        if weights:
            load_in_order(self.body, weights)
        self._freeze(freeze_at)
        self.body.to(memory_format=torch.channels_last)  # convolutions on CPUs are faster so
        self.train(self.training)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict[str, Any]:
        """Read MODEL.TIMM.*; pretrained weights are left out when MODEL.WEIGHTS will replace them."""
        keys = cfg.MODEL.TIMM
        return {
            "name": keys.NAME,
            "out_features": keys.OUT_FEATURES,
            "weights": "" if cfg.MODEL.WEIGHTS else keys.WEIGHTS,
            "freeze_norm": keys.FREEZE_NORM,
            "freeze_at": cfg.MODEL.BACKBONE.FREEZE_AT,
        }

    def _freeze(self, stages: int) -> None:
        """Freeze all layers up to the end of a stage: 1 = before res2, 2 = through res2, 3 = through res3, … (as Detectron2).

        Layers are taken in the order of registration, which in timm is the order of the forward pass.
        """
        if stages <= 0:
            return
        info: Any = self.body.feature_info
        strides: list[int] = info.reduction()
        modules: list[str] = [name.replace(".", "_") for name in info.module_name()]
        index = strides.index(2 ** min(stages, 5)) if 2 ** min(stages, 5) in strides else 0
        names = [name for name, _ in self.body.named_parameters()]
        last = max((i for i, name in enumerate(names) if name.replace(".", "_").startswith(f"{modules[index]}_")), default=-1)
        for name in names[: last + 1]:
            self.body.get_parameter(name).requires_grad_(False)

    def train(self, mode: bool = True) -> "TimmBackbone":
        """Switch the mode; with ``freeze_norm`` the batch-norm layers stay in evaluation mode."""
        super().train(mode)
        if self.freeze_norm:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """``(B, 3, H, W)`` → ``name → (B, C, H/stride, W/stride)``."""
        maps = self.body(image)
        return {f: maps[i] for f, i in self._index.items()}

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride of each output."""
        return {
            f: ShapeSpec(channels=self._out_feature_channels[f], stride=self._out_feature_strides[f])
            for f in self._out_features
        }


def _similar(name: str) -> str:
    import timm

    from dense.registry import nearest

    return nearest(name, timm.list_models())
