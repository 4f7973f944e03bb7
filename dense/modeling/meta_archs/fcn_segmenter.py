"""Fully convolutional segmenter: a backbone, a few dilated convolutions, a classifier per pixel (Long et al., 2015)."""

from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import Conv2d, get_norm
from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY, build_backbone
from torch import Tensor, nn

from dense.config.checks import check_ranges
from dense.errors import ConfigError
from dense.modeling.postprocess import resize_masks
from dense.modeling.preprocess import ImageStack, Preprocessor
from dense.registry import nearest

__all__ = ["FCNSegmenter"]

_MOST = 1_000_000


@META_ARCH_REGISTRY.register()
class FCNSegmenter(nn.Module):
    """Semantic segmentation for pretrained backbones: MODEL.SEM_SEG_HEAD and MODEL.FCN say what comes after the backbone."""

    tasks = frozenset({"semantic"})

    @configurable
    def __init__(
        self, *, backbone: nn.Module, feature: str, convs: nn.Module, classifier: nn.Module, preprocessor: Preprocessor
    ) -> None:
        super().__init__()
        self.backbone, self.feature = backbone, feature
        self.convs, self.classifier, self.preprocessor = convs, classifier, preprocessor

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Read SEM_SEG_HEAD.{IN_FEATURES (the last), NUM_CLASSES, CONVS_DIM, NORM} and FCN.{NUM_CONVS, DILATION}.

        Raises: ConfigError naming the key.
        """
        head = cfg.MODEL.SEM_SEG_HEAD
        positive = dict.fromkeys(("MODEL.SEM_SEG_HEAD.NUM_CLASSES", "MODEL.SEM_SEG_HEAD.CONVS_DIM"), (1, _MOST))
        check_ranges(cfg, {**positive, "MODEL.FCN.NUM_CONVS": (0, _MOST), "MODEL.FCN.DILATION": (1, _MOST)})
        name = cfg.MODEL.BACKBONE.NAME
        if name not in BACKBONE_REGISTRY:
            raise ConfigError(f"MODEL.BACKBONE.NAME: unknown {name!r}.{nearest(name, [k for k, _ in BACKBONE_REGISTRY])}")
        backbone = build_backbone(cfg)
        shapes = backbone.output_shape()
        feature = head.IN_FEATURES[-1] if head.IN_FEATURES else ""
        if feature not in shapes:
            raise ConfigError(f"MODEL.SEM_SEG_HEAD.IN_FEATURES: the backbone has {', '.join(shapes)}, not {feature!r}.")
        channels, convs = shapes[feature].channels, []
        for _ in range(cfg.MODEL.FCN.NUM_CONVS):
            convs.append(_convolution(channels, head.CONVS_DIM, cfg.MODEL.FCN.DILATION, head.NORM))
            channels = head.CONVS_DIM
        return {
            "backbone": backbone,
            "feature": feature,
            "convs": nn.Sequential(*convs),
            "classifier": nn.Conv2d(channels, head.NUM_CLASSES, 1),
            "preprocessor": Preprocessor(cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD, backbone.size_divisibility),
        }

    def forward(self, batch: list[dict[str, Any]]) -> dict[str, Tensor] | list[dict[str, Any]]:
        """Loss in training, results otherwise.

        Args:
            batch: as ``ImageSegmenter.forward`` takes it; pixels of no region are not learnt from.

        Returns: ``{"loss_sem_seg": mean cross entropy of the labelled pixels}``, or per image ``sem_seg`` ``(K, H, W)`` logits.
        """
        stack = self.preprocessor([record["image"] for record in batch])
        logits = self.classifier(self.convs(self.backbone(stack.tensor)[self.feature]))
        if self.training:
            logits = F.interpolate(logits.float(), size=stack.padded, mode="bilinear", align_corners=False)
            return {"loss_sem_seg": _loss(logits, self._labels(batch, stack))}
        results = []
        for i, record in enumerate(batch):
            size = record.get("height", stack.sizes[i][0]), record.get("width", stack.sizes[i][1])
            results.append({"sem_seg": resize_masks(logits[i].float(), stack.padded, stack.sizes[i], size)})
        return results

    def _labels(self, batch: list[dict[str, Any]], stack: ImageStack) -> Tensor:
        """``(B, H, W)`` class indices, -1 where nothing is labelled."""
        labels = torch.full((len(batch), *stack.padded), -1, dtype=torch.int64, device=stack.tensor.device)
        for image, record in zip(labels, batch, strict=True):
            regions = record["instances"]
            for label, mask in zip(regions.gt_classes.tolist(), regions.gt_masks, strict=True):
                image[: mask.shape[0], : mask.shape[1]][mask.to(image.device)] = label
        return labels


def _convolution(channels: int, width: int, dilation: int, norm: str) -> Conv2d:
    conv = Conv2d(
        channels,
        width,
        3,
        padding=dilation,
        dilation=dilation,
        bias=not norm,
        norm=get_norm(norm, width),
        activation=F.relu,
    )
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv


def _loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over labelled pixels; 0 where there are none (a plain mean would be NaN)."""
    total = F.cross_entropy(logits, labels, ignore_index=-1, reduction="sum")
    return total / (labels >= 0).sum().clamp(min=1)
