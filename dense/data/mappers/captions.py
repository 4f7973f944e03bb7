"""From a picture with captions to what image-text pretraining reads: a square crop, and one caption."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dense.data.formats.caption_sets import CaptionedPictures
from dense.data.mappers.image_reading import image_tensor
from dense.data.mappers.reduced_decoding import reduce_decoding
from dense.data.mappers.replacement import ReplacingMapper
from dense.data.transforms.views import CropBox, GeneratorDraws, draw_crop
from dense.errors import DataError
from dense.video.orientation import turn_upright
from dense.video.pictures import exif_turn, open_picture, picture_to_rgb

if TYPE_CHECKING:
    pass

__all__ = ["INTERPOLATIONS", "CaptionMapper", "CaptionSettings"]

INTERPOLATIONS = ("bicubic", "bilinear")
"""INPUT.CAPTIONS.INTERPOLATION; both average over what a pixel covers when they make an image smaller."""


@dataclass(frozen=True)
class CaptionSettings:
    """How a picture becomes an image; INPUT.CAPTIONS.

    Attributes:
        side: of the image, pixels.
        area: range of the crop's share of the picture's area.
        aspects: range of its width over height.
        interpolation: one of ``INTERPOLATIONS``.
        flip: mirror every second image left-right (its caption is not changed).
    """

    side: int
    area: tuple[float, float] = (0.9, 1.0)
    aspects: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: str = "bicubic"
    flip: bool = False


class CaptionMapper(ReplacingMapper[CaptionedPictures, CaptionSettings]):
    """Index and generator → record; a picture that cannot be read or has no caption is replaced by another.

    The record: ``image`` ``(3, S, S)`` uint8 RGB, ``caption`` (one of the picture's), ``file_name``, ``index`` (of the picture
    it shows), and where pictures were passed over ``SKIPPED`` (see ``Replacement``).
    """

    def _record(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        name = self.pictures.name(index)
        captions = self.pictures.captions(index)
        if not captions:
            raise DataError(f"{name}: has no caption that says anything. Add one, or remove the picture.")
        caption = captions[int(rng.integers(len(captions)))]
        with open_picture(name, self.pictures.content(index)) as image:
            turn = exif_turn(image)
            size = (image.width, image.height) if turn.transpose else (image.height, image.width)
            box = draw_crop(size, self.settings.area, GeneratorDraws(rng), self.settings.aspects)
            scale = reduce_decoding(image, [box], [self.settings.side])
            pixels = turn_upright(picture_to_rgb(image, name), turn)
        crop = self._resized(pixels, box, scale)
        if self.settings.flip and rng.random() < 0.5:
            crop = crop[:, ::-1]
        return {"image": image_tensor(crop), "caption": caption, "file_name": name, "index": index}

    def _resized(self, pixels: NDArray[np.uint8], box: CropBox, scale: int) -> NDArray[np.uint8]:
        """The part ``box`` of a picture that was decoded at 1/``scale``, ``(S, S, 3)``."""
        from PIL import Image

        height, width = pixels.shape[:2]
        left, top = box.left / scale, box.top / scale
        corners = (left, top, min(left + box.width / scale, width), min(top + box.height / scale, height))
        method = Image.Resampling[self.settings.interpolation.upper()]
        shown = Image.fromarray(pixels).resize((self.settings.side, self.settings.side), method, box=corners)
        return np.asarray(shown)
