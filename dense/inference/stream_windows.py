"""Frames through a video model window by window, and where a stream stands."""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from dense.checkpoint.reading import read_checkpoint
from dense.checkpoint.writing import save_training_state
from dense.errors import CheckpointError, shown
from dense.modeling.stream_state import plain_state, restored_state
from dense.modeling.video import GatheringModel, QueryWindow, StreamingModel
from dense.video import Frame, FrameSource

__all__ = ["StreamState", "predicted_frames"]

Prepare = Callable[[NDArray[np.uint8]], Tensor]  # a frame's image → the network's input


@dataclass
class StreamState:
    """Where a stream stands; hand it to the next ``stream`` call to go on with the same objects.

    It follows the frames that were delivered: who stops in the middle of a window goes on with the frame after the last that
    came out. A model that judges whole windows (offline) goes on after the window.

    Attributes:
        model: the model's own state.
        frames: number of frames seen.
        time_s: presentation time of the last frame in seconds; frames of a later call that start again at 0 follow it.
        replay: the network's input of delivered frames that ``model`` does not know of yet, ``(3, h, w)`` each.
    """

    model: Any = None
    frames: int = 0
    time_s: float = 0.0
    replay: tuple[Tensor, ...] = field(default_factory=tuple)

    def save(self, path: str | os.PathLike[str], model: nn.Module) -> None:
        """Write a file (whole or not at all) from which another process goes on; ``model`` is the predictor's."""
        save_training_state(path, {"stream": plain_state(self), "weights": _fingerprint(model)})

    @classmethod
    def load(cls, path: str | os.PathLike[str], model: Any) -> "StreamState":  # noqa: ANN401  a streaming model
        """Read what ``save`` wrote; no code in the file is run.

        Raises: CheckpointError if it is no such file, or was written with a model of other parts or sizes.
        """
        content = read_checkpoint(path)
        if content.keys() != {"stream", "weights"}:
            raise CheckpointError(f"{path}: is no state of a stream. Expected a file that StreamState.save wrote.")
        if content["weights"] != _fingerprint(model):
            raise CheckpointError(f"{path}: belongs to another model. Load it with the configuration it was saved with.")
        plain, start = content["stream"], model.start()
        state: StreamState = restored_state(cls, plain, str(path))
        if state.frames < 0:
            raise CheckpointError(f"{path}: frames are {shown(state.frames)}, expected 0 or more.")
        if state.model is not None:
            state.model = restored_state(type(start), state.model, f"{path}: model", model.device)
        return state


def predicted_frames(
    model: Any,  # noqa: ANN401  a streaming model
    source: FrameSource,
    prepare: Prepare,
    state: StreamState,
    *,
    pictures: bool = True,
) -> Iterator[tuple[Frame, QueryWindow, int]]:
    """Each frame, the window it lies in and its place there.

    Args:
        model: a ``StreamingModel``; a ``GatheringModel`` is given frames as they come.
        source: the next frames of the video.
        prepare: makes the network's input.
        state: updated in place with every frame that comes out.
        pictures: are the frames' images wanted? Otherwise a ``GatheringModel``'s frames come with one of zeros that takes no
            memory.

    Raises: VideoError for damage, after the good frames are out.
    """
    if state.model is None:
        state.model = model.start()
    if state.replay:
        _, state.model = model.step(list(state.replay), state.model)
        state.replay = ()
    frames = _continued(source, state)
    if isinstance(model, GatheringModel):
        yield from _gathered(model, frames, prepare, state, pictures)
    else:
        yield from _stepped(model, frames, prepare, state)


def _stepped(
    model: StreamingModel, frames: Iterator[Frame], prepare: Prepare, state: StreamState
) -> Iterator[tuple[Frame, QueryWindow, int]]:
    part = _next_part(frames, model.window)
    while part.frames:
        inputs, before = tuple(prepare(frame.image) for frame in part.frames), state.model
        window, after = model.step(inputs, before)
        for t, frame in enumerate(part.frames, start=1):
            state.frames, state.time_s = frame.index + 1, frame.time_s
            state.model, state.replay = (after, ()) if t == len(inputs) else (before, inputs[:t])
            yield frame, window, t - 1
        if part.error is not None:
            break
        part = _next_part(frames, model.window)
    if part.error is not None:
        raise part.error


def _gathered(
    model: GatheringModel, frames: Iterator[Frame], prepare: Prepare, state: StreamState, pictures: bool
) -> Iterator[tuple[Frame, QueryWindow, int]]:
    error, ended = None, False
    while not ended:
        waiting: list[Frame] = []
        held = state.model  # the stream's own state changes once the window is judged
        while not ended and len(waiting) < model.window:
            count = min(model.intake, model.window - len(waiting))
            part = _next_part(frames, count)
            error, ended = part.error, len(part.frames) < count
            if part.frames:
                held = model.take([prepare(frame.image) for frame in part.frames], held)
                waiting += part.frames if pictures else map(_without_picture, part.frames)
        if waiting:
            windows, held = model.judge(held)
            state.model, state.frames, state.time_s = held, waiting[-1].index + 1, waiting[-1].time_s
            places = ((window, t) for window in windows for t in range(window.masks.shape[1]))
            for frame, (window, t) in zip(waiting, places, strict=True):
                yield frame, window, t
    if error is not None:
        raise error


@dataclass(frozen=True)
class _Part:
    """Frames read together; ``error`` is what ended the source after them."""

    frames: list[Frame]
    error: Exception | None = None


def _next_part(frames: Iterator[Frame], count: int) -> _Part:
    """The next frames, fewer at the end; those read before damage are still delivered."""
    taken: list[Frame] = []
    try:
        for frame in islice(frames, count):
            taken.append(frame)
    except Exception as error:  # noqa: BLE001  raised again once the frames before it are out
        return _Part(taken, error)
    return _Part(taken)


def _without_picture(frame: Frame) -> Frame:
    return replace(frame, image=np.broadcast_to(np.zeros((), np.uint8), frame.image.shape))


def _continued(source: FrameSource, state: StreamState) -> Iterator[Frame]:
    """The source's frames, numbered and timed after those that the state has seen."""
    offset, after = state.frames, state.time_s
    if not offset:
        yield from source
        return
    shift: float | None = None
    for frame in source:
        if shift is None:  # absolute times, which go on by themselves, stay
            shift = 0.0 if frame.time_s > after else after + float(1 / (source.rate or 10)) - frame.time_s
        index = frame.index + offset
        name = f"{index:06d}" if frame.name == f"{frame.index:06d}" else frame.name
        yield Frame(index, frame.time_s + shift, frame.image, name)


def _fingerprint(model: nn.Module) -> str:
    """Of the model's class and of names and shapes of its weights."""
    shapes = [f"{name} {tuple(tensor.shape)}" for name, tensor in sorted(model.state_dict().items())]
    return hashlib.sha256("\n".join([type(model).__name__, *shapes]).encode()).hexdigest()
