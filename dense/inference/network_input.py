"""How a picture or a frame becomes the network's input: size and channel order."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dense.config.checks import check_choice, check_ranges
from dense.data.mappers.image_reading import image_tensor
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
        """Read MIN_SIZE_TEST, MAX_SIZE_TEST and FORMAT of the INPUT node. Raises: ConfigError for impossible values."""
        bgr = check_choice("INPUT.FORMAT", inputs.FORMAT, ("RGB", "BGR")) == "BGR"
        check_ranges(inputs, {"MIN_SIZE_TEST": (0, math.inf), "MAX_SIZE_TEST": (1, math.inf)})
        return cls(inputs.MIN_SIZE_TEST, inputs.MAX_SIZE_TEST, bgr)

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
        return image_tensor(image, self.bgr)


def check_at_least(least: int, **values: int | None) -> None:
    """Raise ConfigError for a value below ``least``; ``None`` means not given."""
    for name, value in values.items():
        if value is not None and value < least:
            raise ConfigError(f"{name}: {value}, expected {least} or more.")
