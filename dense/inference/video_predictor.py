"""``VideoPredictor``: frames in; tracks, panoptic maps or semantic maps out; whole videos, or a stream in constant memory."""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dense.config.checks import check_share
from dense.errors import ConfigError
from dense.inference.frame_predictions import FramePrediction
from dense.inference.model_source import load_model
from dense.inference.network_input import NetworkInput, check_at_least
from dense.inference.stream_windows import StreamState, predicted_frames
from dense.inference.video_tasks import InstanceTask, PanopticTask, SemanticTask, VideoTaskRule
from dense.modeling.video import StreamingModel
from dense.modeling.video_evidence import VideoTask
from dense.structures import FrameResult, VideoResult
from dense.video import Frame, FrameSource, open_frames

__all__ = ["StreamState", "VideoPredictor"]

Frames = Iterable[NDArray[np.uint8]] | str | os.PathLike[str]


class VideoPredictor:
    """Segments a video and follows its objects: instances, panoptic or semantic, as MODEL.MASK_FORMER.TEST.TASK says.

    Args:
        source: a configuration (``CfgNode`` or YAML path), a ``.safetensors`` file that carries its configuration, a zoo name,
            or a model (then give ``min_size``).
        overrides: ``KEY VALUE`` pairs over the configuration.
        min_size: shortest edge of the network's input in pixels, 0 = as the frames are; ``None`` = INPUT.MIN_SIZE_TEST.
        max_size: limit of the longest edge in pixels; ``None`` = INPUT.MAX_SIZE_TEST.
        max_objects: (object, class) pairs that ``predict`` keeps (instances); ``None`` = MODEL.MASK_FORMER.TEST.MAX_NUM.
        min_score: least score of an object in a ``stream``'s results, in [0, 1] (instances).
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

    @property
    def task(self) -> VideoTask:
        """The model's task: ``vis`` (instances), ``vps`` (panoptic) or ``vss`` (semantic)."""
        results = getattr(self.model, "results", None)
        task: VideoTask = "vis" if results is None else results.task
        return task

    def predict(self, frames: Frames) -> VideoResult:
        """Segment a whole video; every decision is made after its last frame, as in the published evaluation.

        Args:
            frames: ``(H, W, 3)`` uint8 RGB arrays, or the path of a video file or of a folder of frames.

        Returns: instances: the best (object, class) pairs, best first, with one mask per frame; panoptic: a map per frame and
            the segments of the video; semantic: a map per frame. Memory grows with the number of frames: by compressed masks,
            or for maps by the mask logits of all queries at a quarter of the network's size.
        Raises: VideoError if the frames cannot be read.
        """
        return self._rule().video(self._predictions(frames, StreamState(), pictures=False))

    def stream(
        self, frames: Frames, state: StreamState | None = None, vocabulary: Sequence[str] | None = None
    ) -> Iterator[FrameResult]:
        """Segment frame by frame in constant memory; a frame's result is final, later frames do not change it.

        The class probabilities are those of the mean over the frames so far, so a label can change while the model makes up
        its mind.

        - Instances: an object is shown from ``min_score`` on, with its best class.
        - Panoptic: the rule of ``predict`` on this frame alone: a segment is shown where it wins its share of the frame's
          pixels, in ``predict`` where it wins its share of the video's. An object has one id in all frames, and so has each
          stuff category.
        - Semantic: the rule of ``predict`` with the classes so far.

        A model that looks at the whole video (MODEL.REFINER.WINDOW 0) yields nothing before its end.

        Args:
            frames: as in ``predict``; may be endless.
            state: from an earlier call, to go on with the same objects; updated in place as frames are consumed.
            vocabulary: names to look for; only open-vocabulary models take one.

        Yields: one result per frame.
        Raises: ConfigError for a vocabulary; VideoError if the frames cannot be read (results so far have been yielded).
        """
        for _, result in self._streamed(frames, state, vocabulary, pictures=False):
            yield result

    def stream_frames(
        self, frames: Frames, state: StreamState | None = None, vocabulary: Sequence[str] | None = None
    ) -> Iterator[tuple[Frame, FrameResult]]:
        """As ``stream``, each result with the frame it belongs to (for drawing)."""
        yield from self._streamed(frames, state, vocabulary, pictures=True)

    def _streamed(
        self, frames: Frames, state: StreamState | None, vocabulary: Sequence[str] | None, *, pictures: bool
    ) -> Iterator[tuple[Frame, FrameResult]]:
        if vocabulary is not None:
            raise ConfigError("vocabulary: this model has a closed vocabulary; leave the argument out.")
        rule = self._rule()
        for prediction in self._predictions(frames, StreamState() if state is None else state, pictures=pictures):
            yield prediction.frame, rule.frame(prediction)

    def _rule(self) -> VideoTaskRule:
        if self.task == "vps":
            return PanopticTask(self.categories, self.model.results)
        if self.task == "vss":
            return SemanticTask(self.categories, self.model.results)
        return InstanceTask(self.categories, self.max_objects, self.min_score)

    def _predictions(self, frames: Frames, state: StreamState, *, pictures: bool) -> Iterator[FramePrediction]:
        source = frames if isinstance(frames, FrameSource) else open_frames(frames)  # type: ignore[arg-type]
        with source:
            for frame, window, t in predicted_frames(self.model, source, self.input.tensor, state, pictures=pictures):
                yield FramePrediction(frame, window.probabilities(t), window.masks[:, t], window)
