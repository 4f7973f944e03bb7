"""Frames through a segmenter, and what the video models share around it."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from dense.errors import DataError
from dense.modeling.predictions import DecoderOutput, MaskPrediction, MaskTargets
from dense.modeling.preprocess import ImageStack, Preprocessor
from dense.modeling.video import StreamingModel, clip_targets, run_windows
from dense.projects.dvis.results import VideoEvidence

__all__ = ["Segmenter", "output_size", "reordered", "segment", "single_clip", "video_result"]


class Segmenter(Protocol):
    """A model that has these parts."""

    backbone: nn.Module
    sem_seg_head: nn.Module
    preprocessor: Preprocessor


def segment(model: Segmenter, frames: Sequence[Tensor]) -> tuple[ImageStack, DecoderOutput]:
    """T frames ``(3, h, w)`` in 0 to 255 → the network's input, and predictions with frames as records."""
    stack = model.preprocessor(frames)
    return stack, model.sem_seg_head(model.backbone(stack.tensor))


def single_clip(batch: Sequence[dict[str, Any]], padded: tuple[int, int], device: torch.device) -> MaskTargets:
    """Targets of the only clip of a batch.

    Raises: DataError for another number of clips: they would be tracked as one video.
    """
    if len(batch) != 1:
        raise DataError(
            f"batch: {len(batch)} clips in one process, expected 1; tracker and refiner follow one video."
            " Set SOLVER.IMS_PER_BATCH to the number of processes."
        )
    return clip_targets(batch[0]["instances"], padded, device)


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
