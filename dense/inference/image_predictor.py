"""``ImagePredictor``: an image in; objects, panoptic map and semantic map out."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dense.config.checks import check_share
from dense.errors import ConfigError, DataError
from dense.inference.model_source import load_model
from dense.inference.network_input import NetworkInput, check_at_least
from dense.modeling.open_vocabulary import TakesWords
from dense.modeling.postprocess import PanopticSegment
from dense.structures import ImageResult, Segment
from dense.structures.rle import RLE, encode_stack
from dense.video.pictures import read_picture

__all__ = ["ImagePredictor"]

_CHUNK = 16  # masks encoded at once: bounds the memory of large images


class ImagePredictor:
    """Segments images.

    Args:
        source: a configuration (``CfgNode`` or YAML path), a ``.safetensors`` file that carries its configuration, a zoo name,
            or a model (then give ``min_size``). A video segmenter's configuration serves too, with the override
            ``MODEL.META_ARCHITECTURE ImageSegmenter``: both have the same parts.
        overrides: ``KEY VALUE`` pairs over the configuration.
        min_size: shortest edge of the network's input in pixels, 0 = as the image is; ``None`` = INPUT.MIN_SIZE_TEST.
        max_size: limit of the longest edge in pixels; ``None`` = INPUT.MAX_SIZE_TEST.
        min_score: least score of an object in the results, in [0, 1].
        categories: names of the classes; ``None`` = those of the configuration's data set.

    Raises: ConfigError for a model that takes no images or a value out of its range; CheckpointError for unusable weights.
    """

    def __init__(
        self,
        source: Any,  # noqa: ANN401  see above
        overrides: Sequence[Any] = (),
        *,
        min_size: int | None = None,
        max_size: int | None = None,
        min_score: float = 0.0,
        categories: Sequence[str] | None = None,
    ) -> None:
        check_share("min_score", min_score)
        check_at_least(0, min_size=min_size)
        check_at_least(1, max_size=max_size)
        loaded = load_model(source, overrides)
        if not hasattr(loaded.model, "tasks"):
            raise ConfigError(
                f"{type(loaded.model).__name__}: is no image model."
                " Add MODEL.META_ARCHITECTURE ImageSegmenter to the configuration."
            )
        self.model: Any = loaded.model
        self.categories = tuple(loaded.categories if categories is None else categories)
        self.min_score = min_score
        self.input = NetworkInput.choose(loaded.cfg, min_size, max_size)

    @torch.no_grad()
    def predict(
        self, image: NDArray[np.uint8] | str | os.PathLike[str], vocabulary: Sequence[str] | None = None
    ) -> ImageResult:
        """Segment one image.

        Args:
            image: ``(H, W, 3)`` uint8 RGB, or the path of a picture (see ``dense.video.pictures.read_picture``).
            vocabulary: words to look for, in place of ``categories``; only open-vocabulary models take any.

        Returns: objects, panoptic and semantic map, as far as the model's tasks are on; at the image's size.
        Raises: DataError if the picture cannot be read or is no such array, or for words that cannot be looked for; ConfigError
            for words if the model takes none.
        """
        pixels = read_picture(image) if isinstance(image, str | os.PathLike) else _checked(image)
        categories = self._look_for(vocabulary)
        height, width = pixels.shape[:2]
        (found,) = self.model([{"image": self.input.tensor(pixels), "height": height, "width": width}])
        return ImageResult(
            height=height,
            width=width,
            categories=list(categories),
            **self._objects(found.get("instances")),
            **_panoptic(found.get("panoptic_seg")),
            semantic=_semantic(found.get("sem_seg")),
        )

    @torch.no_grad()
    def word_maps(
        self, image: NDArray[np.uint8] | str | os.PathLike[str], vocabulary: Sequence[str] | None = None
    ) -> NDArray[np.float32]:
        """Where in an image each word is.

        Arguments and errors as ``predict``.

        Returns: ``(C, H, W)`` float32, the cosine of every pixel's feature with every word.
        """
        pixels = read_picture(image) if isinstance(image, str | os.PathLike) else _checked(image)
        if not isinstance(self.model, TakesWords):
            raise ConfigError("vocabulary: this model has a closed vocabulary, so there is no map of a word.")
        self._look_for(vocabulary)
        maps, size = self.model.word_maps(self.input.tensor(pixels)), (pixels.shape[0], pixels.shape[1])
        if not len(maps):  # which cannot be resized
            return np.zeros((0, *size), np.float32)
        whole: NDArray[np.float32] = torch.nn.functional.interpolate(maps[:, None], size, mode="bilinear")[:, 0].cpu().numpy()
        return whole

    def _look_for(self, vocabulary: Sequence[str] | None) -> tuple[str, ...]:
        """Tell the model what to look for; names of its classes from now on."""
        if not isinstance(self.model, TakesWords):
            if vocabulary is not None:
                raise ConfigError("vocabulary: this model has a closed vocabulary; leave the argument out.")
        elif vocabulary is not None:
            return self.model.look_for(vocabulary)
        elif self.categories:
            self.model.look_for_categories(self.categories)
        return self.categories

    def _objects(self, instances: Any) -> dict[str, Any]:  # noqa: ANN401  Detectron2's or ours
        if instances is None:
            return {}
        boxes = getattr(instances, "pred_boxes", None)  # only Detectron2's have them
        masks: Any = getattr(instances, "masks", getattr(instances, "pred_masks", None))
        labels = instances.labels if boxes is None else instances.pred_classes
        scores = instances.scores.float()
        order = scores.argsort(descending=True, stable=True)
        order = order[scores[order] >= self.min_score]
        if boxes is None:
            order = order[masks[order].flatten(1).any(1)]
        found: dict[str, Any] = {"labels": labels[order].tolist(), "scores": scores[order].tolist()}
        if masks is not None:
            found["masks"] = _encoded(masks, order)
        if boxes is not None:
            corners = boxes.tensor[order].float()
            corners = torch.cat([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
            found["boxes"] = [(x, y, width, height) for x, y, width, height in corners.tolist()]
        return found


def _encoded(masks: Tensor, order: Tensor) -> list[RLE]:
    """RLE of the masks ``(N, H, W)`` of these indices."""
    return [
        rle
        for first in range(0, len(order), _CHUNK)
        for rle in encode_stack(masks[order[first : first + _CHUNK]].cpu().numpy())
    ]


def _checked(image: Any) -> NDArray[np.uint8]:  # noqa: ANN401  whatever a caller passed
    shape, kind = getattr(image, "shape", None), getattr(image, "dtype", None)
    if shape is None or len(shape) != 3 or shape[2] != 3 or 0 in shape or kind != np.uint8:
        raise DataError(f"image: is {kind or type(image).__name__} {shape}, expected a (H, W, 3) uint8 RGB array or a path.")
    return np.asarray(image)


def _panoptic(found: tuple[Tensor, list[PanopticSegment]] | None) -> dict[str, Any]:
    if found is None:
        return {}
    ids = found[0].cpu().numpy().astype(np.int32)
    areas = np.bincount(ids.ravel())
    segments = [Segment(s.id, s.category_id, s.isthing, int(areas[s.id])) for s in found[1]]
    return {"panoptic": ids, "segments": segments}


def _semantic(scores: Tensor | None) -> NDArray[np.integer] | None:
    if scores is None:
        return None
    return scores.argmax(0).cpu().numpy().astype(np.uint8 if len(scores) < 256 else np.int16)
