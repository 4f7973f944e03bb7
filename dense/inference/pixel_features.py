"""Features of single pixels from any model with a backbone: what similarity maps and pixel probes look at."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.modeling import Backbone
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from dense.checkpoint.reading import read_metadata
from dense.config.loading import load_config
from dense.errors import ConfigError, DataError
from dense.inference.model_source import config_inside, zoo_weights
from dense.inference.network_input import NetworkInput
from dense.modeling.builder import build_model
from dense.modeling.preprocess import Preprocessor
from dense.registry import nearest

__all__ = ["FeatureMap", "PixelEncoder", "find_backbone", "model_config", "random_encoder"]


@dataclass(frozen=True)
class FeatureMap:
    """Features of one picture.

    Attributes:
        values: ``(C, h, w)``.
        size: (height, width) of the picture in pixels.
        resized: (height, width) of the network's input before padding.
        padded: (height, width) that the map covers, padding at the bottom and on the right included.
    """

    values: Tensor
    size: tuple[int, int]
    resized: tuple[int, int]
    padded: tuple[int, int]

    def cell(self, x: int, y: int) -> tuple[int, int]:
        """(row, column) of the cell that holds pixel (x, y) of the picture. Raises: DataError for one outside."""
        height, width = self.size
        if not (0 <= x < width and 0 <= y < height):
            raise DataError(f"pixel: ({x}, {y}) is outside the picture of {width}x{height} pixels.")
        found = []
        for place, k in ((y, 0), (x, 1)):
            in_network = (place + 0.5) * self.resized[k] / self.size[k]
            found.append(min(int(in_network * self.values.shape[1 + k] / self.padded[k]), self.values.shape[1 + k] - 1))
        return found[0], found[1]

    def centres(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows ``(h,)`` and columns ``(w,)`` of the pixels under the cells' centres; -1 = only padding there."""
        places = []
        for k in (0, 1):
            cells = self.values.shape[1 + k]
            in_network = (np.arange(cells) + 0.5) * self.padded[k] / cells
            pixels = np.floor(in_network * self.size[k] / self.resized[k]).astype(np.int64)
            places.append(np.where(pixels < self.size[k], pixels, -1))
        return places[0], places[1]

    def at_pixels(self, scores: Tensor) -> Tensor:
        """``(K, h, w)`` numbers of cells → ``(K, H, W)`` of the picture's pixels, bilinear."""
        large = F.interpolate(scores[None], size=self.padded, mode="bilinear", align_corners=False)
        large = large[..., : self.resized[0], : self.resized[1]]
        if self.resized != self.size:
            large = F.interpolate(large, size=self.size, mode="bilinear", align_corners=False)
        return large[0]

    def similarity(self, x: int, y: int) -> Tensor:
        """``(H, W)`` cosine of every pixel and pixel (x, y): that of the cells, between them bilinear."""
        row, column = self.cell(x, y)
        unit = F.normalize(self.values.float(), dim=0, eps=1e-12)
        return self.at_pixels(torch.einsum("chw,c->hw", unit, unit[:, row, column])[None])[0]


def find_backbone(model: nn.Module) -> Backbone:
    """The outermost backbone in a model. Raises: ConfigError if it has none."""
    for module in model.modules():
        if isinstance(module, Backbone):
            return module
    raise ConfigError(f"{type(model).__name__}: has no backbone, which gives the features of pixels.")


class PixelEncoder:
    """A frozen model seen as picture → maps of features.

    Args:
        model: holds a Detectron2 backbone; its ``projector`` (and ``tower``), if any, gives projections.
        cfg: for PIXEL_MEAN, PIXEL_STD and INPUT.
        feature: output of the backbone; "" = the one that the model compares, else the one of the greatest stride.
        min_size: shortest edge of the network's input in pixels; 0 = the picture's own size.

    Raises: ConfigError for an unknown feature.
    """

    def __init__(self, model: nn.Module, cfg: CfgNode, feature: str = "", min_size: int = 0) -> None:
        self.model, self.backbone = model.eval(), find_backbone(model)
        shapes = self.backbone.output_shape()
        compared = list(getattr(model, "features", []))
        self.feature = feature or (compared or [max(shapes, key=lambda name: shapes[name].stride or 0)])[0]
        if self.feature not in shapes:
            raise ConfigError(f"feature {self.feature!r}: is no output of the backbone.{nearest(self.feature, list(shapes))}")
        self.compared = compared or [self.feature]
        strides = [shape.stride or 1 for shape in shapes.values()]
        divisibility = max(self.backbone.size_divisibility, *strides)
        self.preprocess = Preprocessor(cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD, divisibility)
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        self.preprocess.to(device)
        self.input = NetworkInput(min_size, cfg.INPUT.MAX_SIZE_TEST, cfg.INPUT.FORMAT == "BGR")

    @property
    def has_projection(self) -> bool:
        """Whether the model has a projector of this feature."""
        return getattr(self.model, "projector", None) is not None and self.feature in self.compared

    @torch.no_grad()
    def maps(self, image: NDArray[np.uint8]) -> dict[str, FeatureMap]:
        """Features of ``(H, W, 3)`` uint8 RGB: the backbone's by the feature's name, and ``projection`` if there is one."""
        stack = self.preprocess([self.input.tensor(image)])
        outputs = self.backbone(stack.tensor)
        found = {self.feature: outputs[self.feature]}
        if self.has_projection:
            found["projection"] = self._projection(outputs)
        size = (int(image.shape[0]), int(image.shape[1]))
        return {name: FeatureMap(values[0], size, stack.sizes[0], stack.padded) for name, values in found.items()}

    def _projection(self, outputs: dict[str, Tensor]) -> Tensor:
        maps, tower = [outputs[name] for name in self.compared], getattr(self.model, "tower", None)
        if tower is not None:
            maps = list(tower(maps))
        projector: Any = self.model.projector
        projected: Tensor = projector(maps[self.compared.index(self.feature)])
        return projected


def model_config(source: str, overrides: Sequence[Any] = ()) -> CfgNode:
    """The configuration that a ``.yaml`` file, a ``.safetensors`` file that carries one, or a zoo name stands for.

    Args:
        source: one of these.
        overrides: ``KEY VALUE`` pairs over it.

    Raises: ConfigError, CheckpointError.
    """
    path = Path(source)
    if path.suffix in {".yaml", ".yml"}:
        return load_config(path, list(overrides))
    file = path if path.suffix or path.exists() else zoo_weights(source)
    return config_inside(read_metadata(file), file, ["MODEL.WEIGHTS", str(file), *overrides])


def random_encoder(cfg: CfgNode, seed: int, feature: str = "", min_size: int = 0) -> PixelEncoder:
    """The same network with the random weights of a seed, whatever ``cfg`` loads."""
    bare = cfg.clone()
    bare.defrost()
    bare.MODEL.WEIGHTS = ""
    bare.MODEL.TIMM.WEIGHTS = ""
    torch.manual_seed(seed)
    return PixelEncoder(build_model(bare), bare, feature, min_size)
