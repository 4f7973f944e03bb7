"""An image's results on disk: annotated picture, JSON, maps and heat maps as PNG."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dense.data.formats.png_ids import write_id_map, write_label_map
from dense.io import atomic_write, write_json
from dense.structures import ImageResult

__all__ = ["ImageFiles", "result_record"]

_LONGEST_NAME = 40  # letters of a word in a file name


@dataclass(frozen=True)
class ImageFiles:
    """Where the results of one picture go; ``picture`` is the annotated one (PNG or JPEG), the others have its stem."""

    picture: Path

    def write(self, image: NDArray[np.uint8], result: ImageResult, source: str) -> list[Path]:
        """Write everything the result has; the JSON file last.

        Args:
            image: ``(H, W, 3)`` uint8 RGB, the picture without annotations.
            result: what a predictor found in it.
            source: where the picture is from, for the JSON file.

        Returns: the files written. Raises: DataError if a file cannot be written.
        """
        from dense.visualization import draw_image

        written = [self.picture]
        _write_picture(self.picture, draw_image(image, result))
        record = result_record(result, source)
        if result.panoptic is not None:
            written.append(self._beside("_panoptic.png"))
            write_id_map(written[-1], result.panoptic)
            record["panoptic"] = written[-1].name
        if result.semantic is not None:
            written.append(self._beside("_semantic.png"))
            write_label_map(written[-1], result.semantic)
            record["semantic"] = written[-1].name
        written.append(self._beside(".json"))
        write_json(written[-1], record)
        return written

    def write_heat(self, image: NDArray[np.uint8], maps: NDArray[np.float32], words: Sequence[str]) -> list[Path]:
        """Write one picture per word, ``STEM_heat1_red_disc.png``: its cosines, in colours that are the same for all words.

        Args:
            image: ``(H, W, 3)`` uint8 RGB.
            maps: ``(C, H, W)`` cosines.
            words: C of them.

        Returns: the files written. Raises: DataError if a file cannot be written.
        """
        from dense.visualization.similarity import draw_similarity

        written = []
        for number, (word, cosines) in enumerate(zip(words, maps, strict=True), 1):
            span = float(maps.min()), float(maps.max())
            plain = re.sub(r"\W+", "_", word)[:_LONGEST_NAME].strip("_")
            written.append(self._beside(f"_heat{number}_{plain}.png"))
            _write_picture(written[-1], draw_similarity(image, cosines, span=span, title=word))
        return written

    def _beside(self, end: str) -> Path:
        return self.picture.with_name(self.picture.stem + end)


def result_record(result: ImageResult, source: str) -> dict[str, Any]:
    """What the JSON file holds.

    ``source``, ``height``, ``width``, ``categories``, ``objects`` (category, label, score, bbox as x, y, width, height in
    pixels, rle where there are masks), and with a panoptic map ``segments`` (id, category, label, isthing, area).
    """
    objects = zip(result.labels, result.scores, result.object_boxes(), result.object_masks(), strict=True)
    record: dict[str, Any] = {
        "source": source,
        "height": result.height,
        "width": result.width,
        "categories": result.categories,
        "objects": [
            {
                "category": _name(label, result.categories),
                "label": label,
                "score": round(score, 5),
                "bbox": list(box),
                **({} if mask is None else {"rle": mask}),
            }
            for label, score, box, mask in objects
        ],
    }
    if result.panoptic is not None:
        record["segments"] = [{**vars(s), "category": _name(s.label, result.categories)} for s in result.segments]
    return record


def _name(label: int, categories: Sequence[str]) -> str:
    return categories[label] if 0 <= label < len(categories) else f"category {label}"


def _write_picture(path: Path, image: NDArray[np.uint8]) -> None:
    from PIL import Image

    stream = io.BytesIO()
    if path.suffix.lower() == ".png":
        Image.fromarray(image).save(stream, "PNG")
    else:
        Image.fromarray(image).save(stream, "JPEG", quality=92)
    with atomic_write(path, "wb") as file:
        file.write(stream.getvalue())
