"""From an unlabelled picture to the views of it that pretraining compares, one decoding for all of them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dense.data.formats.picture_sets import PictureSet
from dense.data.mappers.reduced_decoding import reduce_decoding
from dense.data.mappers.replacement import ReplacingMapper
from dense.data.transforms.base import Size
from dense.data.transforms.view_pixels import render_view
from dense.data.transforms.views import ColourRecipe, ViewPlan, draw_view
from dense.errors import DataError
from dense.video.orientation import turn_upright
from dense.video.pictures import exif_turn, open_picture, picture_to_rgb

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["ViewMapper", "ViewSettings"]


@dataclass(frozen=True)
class ViewSettings:
    """What views are made; INPUT.VIEWS.

    Attributes:
        side: of a view, pixels.
        area: range of a view's share of the image's area.
        recipes: of the colours of view 1 and view 2; small crops take turns.
        sigmas: range of the blur's standard deviation, pixels of the view.
        small_number, small_side, small_area: of further crops without coordinates.
        reduced: decode JPEGs at 1/2, 1/4 or 1/8 where every crop stays large enough.
        bgr: channels in the order BGR.
    """

    side: int
    area: tuple[float, float]
    recipes: tuple[ColourRecipe, ColourRecipe]
    sigmas: tuple[float, float] = (0.1, 2.0)
    small_number: int = 0
    small_side: int = 96
    small_area: tuple[float, float] = (0.05, 0.14)
    reduced: bool = True
    bgr: bool = False

    def draw(self, size: Size, rng: np.random.Generator) -> list[ViewPlan]:
        """Plans of the two views, then of the small crops, of an image of ``size``."""
        plans = [draw_view(size, self.area, recipe, self.sigmas, rng) for recipe in self.recipes]
        small = (self.recipes[k % 2] for k in range(self.small_number))
        return plans + [draw_view(size, self.small_area, recipe, self.sigmas, rng) for recipe in small]

    def sides(self) -> list[int]:
        """Side in pixels of each plan's crop."""
        return [self.side] * 2 + [self.small_side] * self.small_number


class ViewMapper(ReplacingMapper[PictureSet, ViewSettings]):
    """Index and generator → record for the model; a picture that cannot be read is replaced by another.

    The record: ``views`` ``(2, 3, S, S)`` uint8, ``coords`` ``(2, 4)`` float32 (see ``crop_coordinates``), ``file_name``,
    ``index`` (of the picture it shows), with small crops ``small`` ``(M, 3, s, s)`` uint8, and where pictures were passed over
    ``SKIPPED`` (see ``Replacement``).
    """

    def _record(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        name = self.pictures.name(index)
        sides = self.settings.sides()
        with open_picture(name, self.pictures.content(index)) as image:
            turn = exif_turn(image)
            size = (image.width, image.height) if turn.transpose else (image.height, image.width)
            if min(size) < 2:
                raise DataError(f"{name}: is {size[0]}x{size[1]} pixels (height x width), expected at least 2x2. Remove it.")
            plans = self.settings.draw(size, rng)
            scale = reduce_decoding(image, [plan.box for plan in plans], sides) if self.settings.reduced else 1
            picture = turn_upright(_pixels(image, name), turn)
        crops = [render_view(picture, plan, side, scale) for plan, side in zip(plans, sides, strict=True)]
        record = {
            "views": self._stack(crops[:2]),
            "coords": torch.from_numpy(np.stack([plan.coordinates(size) for plan in plans[:2]])),
            "file_name": name,
            "index": index,
        }
        return {**record, "small": self._stack(crops[2:])} if crops[2:] else record

    def _stack(self, crops: list[NDArray[np.uint8]]) -> Tensor:
        """``(V, 3, S, S)`` uint8 in the channel order of the model."""
        order = (2, 1, 0) if self.settings.bgr else (0, 1, 2)
        stacked = np.empty((len(crops), 3, *crops[0].shape[:2]), np.uint8)
        for target, crop in zip(stacked, crops, strict=True):
            for place, channel in enumerate(order):
                target[place] = crop[..., channel]
        return torch.from_numpy(stacked)


def _pixels(image: "Image", name: str) -> NDArray[np.uint8]:
    """``(H, W, 3)`` uint8 RGB, writable: torch refuses to share read-only memory without a warning."""
    pixels = picture_to_rgb(image, name)
    return pixels if pixels.flags.writeable else pixels.copy()
