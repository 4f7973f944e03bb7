"""Frames through a segmenter, and what the video models share around it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dense.errors import DataError
from dense.modeling.predictions import DecoderOutput, MaskPrediction, MaskTargets
from dense.modeling.preprocess import ImageStack, Preprocessor
from dense.modeling.video import StreamingModel, clip_targets, run_windows
from dense.projects.dvis.results import VideoEvidence

__all__ = [
    "SegmentedClips",
    "Segmenter",
    "output_size",
    "reordered",
    "segment",
    "segment_clips",
    "segmented_record",
    "video_result",
]

_TRAINING_WINDOW = 21  # frames segmented at a time


class Segmenter(Protocol):
    """A model that has these parts."""

    backbone: nn.Module
    sem_seg_head: nn.Module
    preprocessor: Preprocessor


def segment(model: Segmenter, frames: Sequence[Tensor]) -> tuple[ImageStack, DecoderOutput]:
    """T frames ``(3, h, w)`` in 0 to 255 → the network's input, and predictions with frames as records."""
    stack = model.preprocessor(frames)
    return stack, model.sem_seg_head(model.backbone(stack.tensor))


@dataclass(frozen=True)
class SegmentedClips:
    """B clips of T frames after a frozen segmenter: all that the stages after it are trained with.

    Smaller clips are filled up with zeros to the size of the largest.

    Attributes:
        embeddings: queries after the decoder's norm, ``(B, T, Q, C)``.
        values: the same before the norm.
        mask_features: ``(B, T, M, h, w)``.
        final: the segmenter's predictions, where asked for; frames are records, clip after clip.
        clips: targets of each clip.
    """

    embeddings: Tensor
    values: Tensor
    mask_features: Tensor
    final: MaskPrediction | None
    clips: list[MaskTargets]


@torch.no_grad()
def segment_clips(
    model: Segmenter, batch: Sequence[dict[str, Any]], device: torch.device, *, predictions: bool
) -> SegmentedClips:
    """Clip by clip through the segmenter, or from what was kept of it.

    A clip's numbers do not depend on the others of the batch.

    Args:
        model: its parts in evaluation mode.
        batch: per clip ``instances`` and either ``image`` (frames) or, from a cache, ``queries`` ``(T, Q, C)``,
            ``mask_features`` ``(T, M, h, w)`` and ``padded`` (see ``dense.data.clip_cache``).
        device: where the targets go.
        predictions: are the segmenter's own predictions wanted?

    Raises: DataError if the clips differ in their number of frames, or have none.
    """
    lengths = {len(record["instances"]) for record in batch}
    if len(lengths) != 1 or 0 in lengths:
        raise DataError(f"batch: clips of {sorted(lengths)} frames, expected the same number for all, at least one frame.")
    outputs, sizes = zip(*(_clip(model, record, device, predictions) for record in batch), strict=True)
    clips = [clip_targets(record["instances"], size, device) for record, size in zip(batch, sizes, strict=True)]
    (height, width), (h, w) = _largest(sizes), _largest([output.mask_features.shape[-2:] for output in outputs])
    return SegmentedClips(
        torch.stack([output.embeddings for output in outputs]),
        torch.stack([output.embeddings_without_norm for output in outputs]),
        torch.stack([_filled(output.mask_features, h, w) for output in outputs]),
        _joined([output.final for output in outputs], h, w) if predictions else None,
        [MaskTargets(clip.labels, _filled(clip.masks, height, width), clip.ids) for clip in clips],
    )


@torch.no_grad()
def segmented_record(model: Segmenter, record: dict[str, Any]) -> dict[str, Any]:
    """A clip of the loader with what ``segment_clips`` needs in place of its images."""
    output, padded = _clip(model, record, next(model.sem_seg_head.parameters()).device, predictions=False)
    width = model.sem_seg_head.predictor.width  # type: ignore[union-attr]
    queries = output.embeddings_without_norm[..., :width]
    return {**record, "image": [], "queries": queries, "mask_features": output.mask_features, "padded": padded}


def _clip(
    model: Segmenter, record: dict[str, Any], device: torch.device, predictions: bool
) -> tuple[DecoderOutput, tuple[int, int]]:
    """One clip's predictions, frames as records, without those of earlier layers; and (height, width) of its input."""
    if "queries" in record:
        queries, features = (record[name].to(device).float() for name in ("queries", "mask_features"))
        return model.sem_seg_head.predictor.restored(queries, features, predictions), record["padded"]  # type: ignore[union-attr, operator]
    stack = model.preprocessor(record["image"])
    parts = [model.sem_seg_head(model.backbone(images)) for images in stack.tensor.split(_TRAINING_WINDOW)]
    joined = {
        name: torch.cat([getattr(output, name) for output in parts])
        for name in ("embeddings", "embeddings_without_norm", "mask_features")
    }
    logits, masks = (torch.cat([getattr(output.final, name) for output in parts]) for name in ("logits", "masks"))
    return DecoderOutput([MaskPrediction(logits, masks)], **joined), stack.padded


def _joined(predictions: Sequence[MaskPrediction], height: int, width: int) -> MaskPrediction:
    masks = [_filled(prediction.masks, height, width) for prediction in predictions]
    return MaskPrediction(torch.cat([prediction.logits for prediction in predictions]), torch.cat(masks))


def _largest(sizes: Sequence[Sequence[int]]) -> tuple[int, int]:
    return max(size[0] for size in sizes), max(size[1] for size in sizes)


def _filled(maps: Tensor, height: int, width: int) -> Tensor:
    """``(…, h, w)`` with zeros below and to the right."""
    return F.pad(maps, (0, width - maps.shape[-1], 0, height - maps.shape[-2]))


def output_size(record: dict[str, Any], unpadded: tuple[int, int]) -> tuple[int, int]:
    """(height, width) asked for; that of the frames if the record does not say."""
    return record.get("height", unpadded[0]), record.get("width", unpadded[1])


def video_result(model: Any, record: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401  a streaming model with results
    """Result of one video by a model that gives its masks window by window.

    Args:
        model: has ``step``, ``window``, ``whole_video`` and ``results``.
        record: ``image``, and possibly ``height`` and ``width``.
    """
    frames = record["image"]
    streaming: StreamingModel = model
    window, masks = run_windows(streaming, frames, max(len(frames), 1) if model.whole_video else model.window)
    return model.results(  # type: ignore[no-any-return]
        VideoEvidence(
            window.probabilities(-1),
            masks,
            window.padded,
            window.unpadded,
            output_size(record, window.unpadded),
        )
    )


def reordered(prediction: MaskPrediction, order: Tensor) -> MaskPrediction:
    """Queries of each frame in another order: ``(T, Q, …)`` by ``(T, Q)`` int64."""
    frames = torch.arange(len(order), device=order.device)[:, None]
    return MaskPrediction(prediction.logits[frames, order], prediction.masks[frames, order])
