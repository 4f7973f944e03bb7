"""``build_model``: a configuration → a model on its device, with its weights."""

from collections.abc import Collection
from typing import Protocol, runtime_checkable

import torch
from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY
from torch import nn

import dense.modeling.backbones
import dense.modeling.heads
import dense.modeling.losses
import dense.modeling.mask_decoders
import dense.modeling.matchers
import dense.modeling.meta_archs
import dense.modeling.pixel_decoders  # noqa: F401  importing registers the parts
from dense.checkpoint.loading import load_checkpoint
from dense.errors import ConfigError
from dense.modeling.meta_archs.detectors import build_detector, is_detector_class
from dense.registry import load_projects, nearest

__all__ = ["FollowsLoading", "build_model"]


@runtime_checkable
class FollowsLoading(Protocol):
    """A model that has copies of its parts, which MODEL.WEIGHTS may leave behind."""

    def weights_loaded(self, names: Collection[str]) -> None:
        """Values of these names of the state dict were replaced."""


def build_model(cfg: CfgNode) -> nn.Module:
    """Build the model that ``cfg.MODEL.META_ARCHITECTURE`` names.

    Args:
        cfg: from ``load_config``.

    Returns: the module on ``cfg.MODEL.DEVICE`` in training mode; ``cfg.MODEL.WEIGHTS`` is loaded when set.
    Raises: ConfigError for an unknown architecture, part or device; CheckpointError if the weights cannot be read or nothing
        fits.
    """
    load_projects()
    name = cfg.MODEL.META_ARCHITECTURE
    if name not in META_ARCH_REGISTRY:
        raise ConfigError(f"MODEL.META_ARCHITECTURE: unknown {name!r}.{nearest(name, [k for k, _ in META_ARCH_REGISTRY])}")
    kind = META_ARCH_REGISTRY.get(name)
    model: nn.Module = build_detector(cfg) if is_detector_class(kind) else kind(cfg)
    if cfg.MODEL.WEIGHTS:
        report = load_checkpoint(model, cfg.MODEL.WEIGHTS)
        if isinstance(model, FollowsLoading):
            model.weights_loaded(report.loaded)
    return model.to(_device(cfg.MODEL.DEVICE))


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"MODEL.DEVICE: {name!r} is no device; expected cpu, cuda, cuda:N or mps.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"MODEL.DEVICE: {name!r}, but no CUDA device is available. Add `MODEL.DEVICE cpu`.")
    return device
