"""What every video model offers to predictors: a state that goes in and comes out, a window of frames at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from dense.errors import DataError, NonFiniteError
from dense.modeling.predictions import MaskTargets
from dense.modeling.training_protocols import FollowsTraining, RemembersTraining

__all__ = [
    "FollowsTraining",
    "GatheringModel",
    "QueryWindow",
    "RemembersTraining",
    "RunningLogits",
    "StreamingModel",
    "check_one_size",
    "clip_targets",
    "fused_probabilities",
    "run_windows",
]

State = TypeVar("State")


@dataclass(frozen=True)
class QueryWindow:
    """Predictions for a few consecutive frames; query ``q`` is the same object in all of them and in earlier windows.

    Attributes:
        logits: class logits of the video up to and including each frame, ``(T, Q, K+1)``.
        masks: mask logits ``(Q, T, h, w)`` at stride 4 of the padded input.
        padded: (height, width) of the network's input, pixels.
        unpadded: (height, width) of the frames inside it, pixels.
        auxiliary: logits of a second opinion, as ``logits``.
    """

    logits: Tensor
    masks: Tensor
    padded: tuple[int, int]
    unpadded: tuple[int, int]
    auxiliary: Tensor | None = None

    def probabilities(self, t: int) -> Tensor:
        """Class probabilities up to and including frame ``t``, ``(Q, K+1)``; see ``fused_probabilities``."""
        return fused_probabilities(self.logits[t], None if self.auxiliary is None else self.auxiliary[t])


@runtime_checkable
class StreamingModel(Protocol):
    """A model that goes through a video window by window; nothing about the video is kept in the module."""

    window: int

    def start(self) -> Any:  # noqa: ANN401  each model has a state of its own
        """State before the first frame."""

    def step(self, frames: Sequence[Tensor], state: Any) -> tuple[QueryWindow, Any]:  # noqa: ANN401
        """Next frames, each ``(3, h, w)`` in 0 to 255 → predictions and the state after them."""


@runtime_checkable
class GatheringModel(StreamingModel, Protocol):
    """A streaming model that judges many frames together, ``window`` of them, but keeps little of each.

    It takes them a few at a time, so that frames need not stay in memory; ``step`` is ``take``, as often as needed, then
    ``judge``.
    """

    intake: int

    def take(self, frames: Sequence[Tensor], state: Any) -> Any:  # noqa: ANN401
        """Next frames, at most ``intake``, of one size → the state that holds what is needed of them."""

    def judge(self, state: Any) -> tuple[Iterator[QueryWindow], Any]:  # noqa: ANN401
        """Predictions for all frames taken since the last call, some at a time, computed as they are asked for; and the state.

        What is kept of a frame is freed once its prediction is out, unless the caller holds the old state.
        """


@dataclass(frozen=True)
class RunningLogits:
    """Class logits of a video so far.

    Attributes:
        total: sum over the frames seen, ``(Q, K+1)``; ``None`` before the first.
        frames: number of frames seen.
    """

    total: Tensor | None = None
    frames: int = 0

    def add(self, logits: Tensor) -> tuple[Tensor, "RunningLogits"]:
        """Logits of the next frames ``(T, Q, K+1)`` → means up to and including each frame, same shape, and the new sum.

        Raises: NonFiniteError naming the frames if they are NaN or infinite.
        """
        if not torch.isfinite(logits).all():
            last = self.frames + len(logits) - 1
            raise NonFiniteError(f"frames {self.frames} to {last}: the model's outputs are not finite.")
        sums = logits.float().cumsum(0)
        if self.total is not None:
            sums = sums + self.total
        counts = torch.arange(self.frames + 1, self.frames + len(logits) + 1, device=logits.device)
        return sums / counts[:, None, None], RunningLogits(sums[-1], self.frames + len(logits))


def check_one_size(frames: Sequence[Tensor]) -> None:
    """Raise DataError unless the frames ``(3, h, w)`` of a window have one size: its masks could not be one tensor."""
    for t, frame in enumerate(frames):
        if frame.shape[-2:] != frames[0].shape[-2:]:
            here, first = ("x".join(map(str, reversed(f.shape[-2:]))) for f in (frame, frames[0]))
            raise DataError(f"image: frame {t} is {here} (width x height), frame 0 is {first}. Scale them to one size first.")


def run_windows(model: StreamingModel, frames: Sequence[Tensor], size: int) -> tuple[QueryWindow, Tensor]:
    """A whole video, ``size`` frames at a time.

    Returns: the last window, whose last logits are the video's, and the mask logits ``(Q, T, h, w)`` in float32 on the CPU.
    Raises: DataError without frames, or if they differ in size.
    """
    if len(frames) == 0:
        raise DataError("image: the video has no frame, expected at least one.")
    check_one_size(frames)
    state, masks = model.start(), torch.empty(0)
    for first in range(0, len(frames), size):
        window, state = model.step(frames[first : first + size], state)
        found = window.masks.float().cpu()
        if not first:  # into one tensor: joining parts at the end would take the memory of all masks twice
            masks = found if size >= len(frames) else found.new_empty((len(found), len(frames), *found.shape[2:]))
        masks[:, first : first + size] = found
    return window, masks


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


def fused_probabilities(logits: Tensor, auxiliary: Tensor | None = None) -> Tensor:
    """Softmax of video logits ``(Q, K+1)``; with others of the same shape, the greater of both for each class but the last."""
    probabilities = logits.float().softmax(-1)
    if auxiliary is None:
        return probabilities
    classes = torch.maximum(probabilities[:, :-1], auxiliary.float().softmax(-1)[:, :-1])
    return torch.cat((classes, probabilities[:, -1:]), dim=1)
