"""``VideoPredictor``: frames in, tracks out; whole videos, or a stream in constant memory."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dense.config.checks import check_share
from dense.errors import ConfigError
from dense.inference.model_source import load_model
from dense.inference.network_input import NetworkInput, check_at_least
from dense.inference.stream_windows import StreamState, predicted_frames
from dense.modeling.postprocess import resize_masks, top_pairs
from dense.modeling.video import QueryWindow, StreamingModel
from dense.structures import RLE, FrameResult, Track, VideoResult
from dense.structures.rle import encode_stack
from dense.video import Frame, FrameSource, open_frames

__all__ = ["StreamState", "VideoPredictor"]

_CHUNK = 16  # masks resized at once: bounds the memory of large frames


@dataclass(frozen=True)
class _Prediction:
    """One frame, nothing selected: ``probabilities`` ``(Q, K+1)`` so far, ``masks`` ``(Q, h, w)``, sizes as in ``window``."""

    frame: Frame
    probabilities: Tensor
    masks: Tensor
    window: QueryWindow

    def encode(self, queries: Sequence[int]) -> list[RLE | None]:
        """Masks of the queries at the frame's size; ``None`` where nothing is covered."""
        size = self.frame.image.shape[0], self.frame.image.shape[1]
        out: list[RLE | None] = [None] * len(queries)
        # Interpolation never exceeds its inputs: a query without a positive logit has an empty mask at any size.
        filled = [i for i, q in enumerate(queries) if bool((self.masks[q] > 0).any())]
        for first in range(0, len(filled), _CHUNK):
            part = filled[first : first + _CHUNK]
            chosen = self.masks[[queries[i] for i in part]]
            binary = resize_masks(chosen, self.window.padded, self.window.unpadded, size) > 0
            for i, mask, rle in zip(part, binary, encode_stack(binary.cpu().numpy()), strict=True):
                out[i] = rle if bool(mask.any()) else None
        return out


class VideoPredictor:
    """Segments and tracks the objects of a video.

    Args:
        source: a configuration (``CfgNode`` or YAML path), a ``.safetensors`` file that carries its configuration, a zoo name,
            or a model (then give ``min_size``).
        overrides: ``KEY VALUE`` pairs over the configuration.
        min_size: shortest edge of the network's input in pixels, 0 = as the frames are; ``None`` = INPUT.MIN_SIZE_TEST.
        max_size: limit of the longest edge in pixels; ``None`` = INPUT.MAX_SIZE_TEST.
        max_objects: (object, class) pairs that ``predict`` keeps; ``None`` = MODEL.MASK_FORMER.TEST.MAX_NUM.
        min_score: least score of an object in a ``stream``'s results, in [0, 1].
        categories: names of the classes; ``None`` = those of the configuration's data set.

    Raises: ConfigError for a model that takes no videos or a value out of its range; CheckpointError for unusable weights.
    """

    def __init__(
        self,
        source: Any,  # noqa: ANN401  see above
        overrides: Sequence[Any] = (),
        *,
        min_size: int | None = None,
        max_size: int | None = None,
        max_objects: int | None = None,
        min_score: float = 0.3,
        categories: Sequence[str] | None = None,
    ) -> None:
        check_share("min_score", min_score)
        check_at_least(0, min_size=min_size)
        check_at_least(1, max_size=max_size, max_objects=max_objects)
        loaded = load_model(source, overrides)
        if not isinstance(loaded.model, StreamingModel):
            raise ConfigError(
                f"{type(loaded.model).__name__}: is no video model. Use a configuration whose model takes videos."
            )
        self.model: Any = loaded.model
        self.cfg = loaded.cfg
        self.categories = tuple(loaded.categories if categories is None else categories)
        self.input = NetworkInput.choose(self.cfg, min_size, max_size)
        default = 20 if self.cfg is None else int(self.cfg.MODEL.MASK_FORMER.TEST.MAX_NUM)
        self.max_objects = default if max_objects is None else max_objects
        self.min_score = min_score

    def predict(self, frames: Iterable[NDArray[np.uint8]] | str | os.PathLike[str]) -> VideoResult:
        """Segment and track a whole video.

        Args:
            frames: ``(H, W, 3)`` uint8 RGB arrays, or the path of a video file or of a folder of frames.

        Returns: the best (object, class) pairs over the video, best first, with one mask per frame. Memory grows with the
            number of frames by their compressed masks only.
        Raises: VideoError if the frames cannot be read.
        """
        times: list[float] = []
        masks: list[list[RLE | None]] = []
        last: _Prediction | None = None
        for last in self._predictions(frames, StreamState(), pictures=False):
            times.append(last.frame.time_s)
            masks.append(last.encode(range(len(last.masks))))
        if last is None:
            raise AssertionError("a frame source without frames must raise VideoError")
        scores, queries, labels = top_pairs(last.probabilities[:, :-1], self.max_objects)
        tracks = [
            Track(int(q), int(label), float(score), [frame[int(q)] for frame in masks])
            for score, q, label in zip(scores, queries, labels, strict=True)
        ]
        height, width = last.frame.image.shape[:2]
        return VideoResult(height, width, times, tracks, list(self.categories))

    def stream(
        self,
        frames: Iterable[NDArray[np.uint8]] | str | os.PathLike[str],
        state: StreamState | None = None,
        vocabulary: Sequence[str] | None = None,
    ) -> Iterator[FrameResult]:
        """Segment and track frame by frame in constant memory.

        Args:
            frames: as in ``predict``; may be endless.
            state: from an earlier call, to go on with the same objects; updated in place as frames are consumed.
            vocabulary: names to look for; only open-vocabulary models take one.

        Yields: one result per frame. An object is shown from ``min_score`` on; its label and score are the best class of the
            mean over the frames so far, so a track's label can change while the model makes up its mind.
        Raises: ConfigError for a vocabulary; VideoError if the frames cannot be read (results so far have been yielded).
        """
        for prediction in self._streamed(frames, state, vocabulary, pictures=False):
            yield self._select(prediction)

    def stream_frames(
        self,
        frames: Iterable[NDArray[np.uint8]] | str | os.PathLike[str],
        state: StreamState | None = None,
        vocabulary: Sequence[str] | None = None,
    ) -> Iterator[tuple[Frame, FrameResult]]:
        """As ``stream``, each result with the frame it belongs to (for drawing)."""
        for prediction in self._streamed(frames, state, vocabulary, pictures=True):
            yield prediction.frame, self._select(prediction)

    def _streamed(
        self,
        frames: Iterable[NDArray[np.uint8]] | str | os.PathLike[str],
        state: StreamState | None,
        vocabulary: Sequence[str] | None,
        *,
        pictures: bool,
    ) -> Iterator[_Prediction]:
        if vocabulary is not None:
            raise ConfigError("vocabulary: this model has a closed vocabulary; leave the argument out.")
        yield from self._predictions(frames, StreamState() if state is None else state, pictures=pictures)

    def _select(self, prediction: _Prediction) -> FrameResult:
        scores, labels = prediction.probabilities[:, :-1].max(-1)
        order = scores.argsort(descending=True, stable=True).tolist()
        wanted = [q for q in order if float(scores[q]) >= self.min_score]
        encoded = prediction.encode(wanted)
        seen = [(q, rle) for q, rle in zip(wanted, encoded, strict=True) if rle is not None]
        height, width = prediction.frame.image.shape[:2]
        return FrameResult(
            index=prediction.frame.index,
            time_s=prediction.frame.time_s,
            height=height,
            width=width,
            track_ids=[q for q, _ in seen],
            labels=[int(labels[q]) for q, _ in seen],
            scores=[float(scores[q]) for q, _ in seen],
            masks=[rle for _, rle in seen],
        )

    def _predictions(
        self, frames: Iterable[NDArray[np.uint8]] | str | os.PathLike[str], state: StreamState, *, pictures: bool
    ) -> Iterator[_Prediction]:
        source = frames if isinstance(frames, FrameSource) else open_frames(frames)  # type: ignore[arg-type]
        with source:
            for frame, window, t in predicted_frames(self.model, source, self.input.tensor, state, pictures=pictures):
                yield _Prediction(frame, window.probabilities(t), window.masks[:, t], window)
