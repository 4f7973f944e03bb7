"""What every video model offers to predictors: a state that goes in and comes out, a window of frames at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from dense.modeling.postprocess import resize_masks, top_pairs
from dense.modeling.predictions import MaskTargets

__all__ = ["ClipObjects", "QueryWindow", "StreamingModel", "clip_targets", "select_objects"]

State = TypeVar("State")


@dataclass(frozen=True)
class QueryWindow:
    """Predictions for a few consecutive frames; query ``q`` is the same object in all of them and in earlier windows.

    Attributes:
        logits: class logits of the video up to and including each frame, ``(T, Q, K+1)``.
        masks: mask logits ``(Q, T, h, w)`` at stride 4 of the padded input.
        padded: (height, width) of the network's input, pixels.
        unpadded: (height, width) of the frames inside it, pixels.
    """

    logits: Tensor
    masks: Tensor
    padded: tuple[int, int]
    unpadded: tuple[int, int]


@runtime_checkable
class StreamingModel(Protocol):
    """A model that goes through a video window by window; nothing about the video is kept in the module."""

    window: int

    def start(self) -> Any:  # noqa: ANN401  each model has a state of its own
        """State before the first frame."""

    def step(self, frames: Sequence[Tensor], state: Any) -> tuple[QueryWindow, Any]:  # noqa: ANN401
        """Next frames, each ``(3, h, w)`` in 0 to 255 → predictions and the state after them."""


@dataclass(frozen=True)
class ClipObjects:
    """Objects of a clip: ``scores`` ``(N,)``, ``labels`` ``(N,)``, ``queries`` ``(N,)``, ``masks`` ``(N, T, H, W)`` bool."""

    scores: Tensor
    labels: Tensor
    queries: Tensor
    masks: Tensor


def select_objects(logits: Tensor, masks: Tensor, count: int, window: QueryWindow, output: tuple[int, int]) -> ClipObjects:
    """Video instance result: the best (query, class) pairs and their masks (MinVIS, §3.3; no threshold, no rescoring).

    Args:
        logits: video logits ``(Q, K+1)``.
        masks: mask logits ``(Q, T, h, w)``.
        count: number of pairs.
        window: any window of the video, for its sizes.
        output: (height, width) asked for.
    """
    scores, queries, labels = top_pairs(logits.softmax(-1)[:, :-1], count)
    order = queries.tolist()
    binary = {q: resize_masks(masks[q][None], window.padded, window.unpadded, output)[0] > 0 for q in set(order)}
    stacked = torch.stack([binary[q] for q in order]) if order else masks.new_zeros((0, masks.shape[1], *output)).bool()
    return ClipObjects(scores.cpu(), labels.cpu(), queries.cpu(), stacked)


def clip_targets(frames: Sequence[Any], padded: tuple[int, int], device: torch.device) -> MaskTargets:
    """Targets of a clip from its frames' records.

    Args:
        frames: per frame ``labels`` ``(N,)`` (-1 = absent), ``ids`` ``(N,)`` (-1 = not visible), ``masks`` ``(N, h, w)``;
            every frame has the same objects in the same order.
        padded: (H, W) of the network's input.
        device: where the targets go.

    Returns: objects seen in at least one frame; the label is the greatest over the frames.
    """
    ids = torch.stack([f.ids for f in frames], dim=1)  # (N, T)
    labels = torch.stack([f.labels for f in frames], dim=1).amax(1)
    seen = (ids != -1).any(1)
    masks = torch.zeros((int(seen.sum()), len(frames), *padded), dtype=torch.bool)
    for t, frame in enumerate(frames):
        masks[:, t, : frame.masks.shape[-2], : frame.masks.shape[-1]] = frame.masks[seen]
    return MaskTargets(labels[seen], masks, ids[seen]).to(device)
