"""How a picture or a frame becomes the network's input: size and channel order."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dense.data.transforms import Resize, shortest_edge_size
from dense.errors import ConfigError

if TYPE_CHECKING:
    from detectron2.config import CfgNode

__all__ = ["NetworkInput", "check_at_least"]


@dataclass(frozen=True)
class NetworkInput:
    """How a picture becomes the network's input.

    Attributes:
        min_size: shortest edge in pixels, 0 = as it is.
        max_size: limit of the longest edge in pixels.
        bgr: channels in the order blue, green, red.
    """

    min_size: int = 0
    max_size: int = 1333
    bgr: bool = False

    @classmethod
    def from_config(cls, inputs: "CfgNode") -> "NetworkInput":
        """Read the INPUT node."""
        return cls(inputs.MIN_SIZE_TEST, inputs.MAX_SIZE_TEST, inputs.FORMAT == "BGR")

    @classmethod
    def choose(cls, cfg: "CfgNode | None", min_size: int | None, max_size: int | None) -> "NetworkInput":
        """The sizes that are given, else those of the configuration, else as the picture is."""
        defaults = cls() if cfg is None else cls.from_config(cfg.INPUT)
        return cls(
            min_size=defaults.min_size if min_size is None else min_size,
            max_size=defaults.max_size if max_size is None else max_size,
            bgr=defaults.bgr,
        )

    def tensor(self, image: NDArray[np.uint8]) -> Tensor:
        """``(H, W, 3)`` uint8 RGB → ``(3, h, w)`` uint8."""
        if self.min_size:
            size = shortest_edge_size((image.shape[0], image.shape[1]), self.min_size, self.max_size)
            image = Resize(*size).apply_image(image)
        if self.bgr:
            image = image[:, :, ::-1]
        return torch.from_numpy(np.array(image.transpose(2, 0, 1), order="C"))


def check_at_least(least: int, **values: int | None) -> None:
    """Raise ConfigError for a value below ``least``; ``None`` means not given."""
    for name, value in values.items():
        if value is not None and value < least:
            raise ConfigError(f"{name}: {value}, expected {least} or more.")
