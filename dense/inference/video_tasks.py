"""From predictions of frames to results, one class per task: of a frame with what is known so far, or of a whole video."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from dense.inference.frame_predictions import FramePrediction
from dense.modeling.postprocess import top_pairs
from dense.modeling.video_evidence import VideoEvidence, VideoResults
from dense.structures import RLE, FrameResult, Segment, Track, VideoResult

__all__ = ["InstanceTask", "PanopticTask", "SemanticTask", "VideoTaskRule"]


class VideoTaskRule(Protocol):
    """How predictions become results."""

    def frame(self, prediction: FramePrediction) -> FrameResult:
        """Result of one frame, from the classes so far and this frame's masks alone."""
        ...

    def video(self, predictions: Iterable[FramePrediction]) -> VideoResult:
        """Result of a whole video of at least one frame, from the classes after its last frame."""
        ...


@dataclass(frozen=True)
class InstanceTask:
    """Objects with masks.

    Attributes:
        categories: names of the classes.
        max_objects: (object, class) pairs of a video.
        min_score: least score of an object in a frame.
    """

    categories: Sequence[str]
    max_objects: int
    min_score: float

    def frame(self, prediction: FramePrediction) -> FrameResult:
        """Every query of at least ``min_score`` that is seen in the frame, with its best class."""
        scores, labels = prediction.probabilities[:, :-1].max(-1)
        order = scores.argsort(descending=True, stable=True).tolist()
        wanted = [q for q in order if float(scores[q]) >= self.min_score]
        encoded = prediction.encode(wanted)
        seen = [(q, rle) for q, rle in zip(wanted, encoded, strict=True) if rle is not None]
        return FrameResult(
            **_place(prediction),
            track_ids=[q for q, _ in seen],
            labels=[int(labels[q]) for q, _ in seen],
            scores=[float(scores[q]) for q, _ in seen],
            masks=[rle for _, rle in seen],
        )

    def video(self, predictions: Iterable[FramePrediction]) -> VideoResult:
        """The best pairs; memory grows by the compressed masks only."""
        times: list[float] = []
        masks: list[list[RLE | None]] = []
        last: FramePrediction | None = None
        for last in predictions:
            times.append(last.frame.time_s)
            masks.append(last.encode(range(len(last.masks))))
        if last is None:
            raise AssertionError(_NO_FRAME)
        scores, queries, labels = top_pairs(last.probabilities[:, :-1], self.max_objects)
        tracks = [
            Track(int(q), int(label), float(score), [frame[int(q)] for frame in masks])
            for score, q, label in zip(scores, queries, labels, strict=True)
        ]
        return VideoResult(*last.size, times, tracks, list(self.categories))


@dataclass(frozen=True)
class PanopticTask:
    """One map of segments per frame.

    Attributes:
        categories: names of the classes.
        results: the model's rule (MODEL.MASK_FORMER.TEST.TASK: vps).
    """

    categories: Sequence[str]
    results: VideoResults

    def frame(self, prediction: FramePrediction) -> FrameResult:
        """The rule of a video, applied to this frame alone.

        A thing's id is its query's number + 1, a stuff category's the number of queries + 1 + its class, so that both stay.
        """
        found = self.results(prediction.evidence(prediction.masks[:, None]))
        queries = len(prediction.probabilities)
        table = np.zeros(len(found["segments_infos"]) + 1, np.int32)
        for info, query in zip(found["segments_infos"], found["pred_ids"], strict=True):
            table[info["id"]] = query + 1 if info["isthing"] else queries + 1 + info["category_id"]
        ids = table[found["pred_masks"][0].numpy()]
        return FrameResult(**_place(prediction), panoptic=ids, segments=_segments(found["segments_infos"], ids, table))

    def video(self, predictions: Iterable[FramePrediction]) -> VideoResult:
        """Segments that win their share over all frames together; ids count from 1."""
        evidence, times = _whole(predictions)
        found = self.results(evidence)
        ids = found["pred_masks"].numpy()
        table = np.arange(len(found["segments_infos"]) + 1, dtype=np.int32)
        return VideoResult(
            *evidence.output,
            times,
            categories=list(self.categories),
            panoptic=ids,
            segments=_segments(found["segments_infos"], ids, table),
        )


@dataclass(frozen=True)
class SemanticTask:
    """One class per pixel.

    Attributes:
        categories: names of the classes.
        results: the model's rule (MODEL.MASK_FORMER.TEST.TASK: vss).
    """

    categories: Sequence[str]
    results: VideoResults

    def frame(self, prediction: FramePrediction) -> FrameResult:
        """The rule of a video, with the classes so far."""
        evidence = prediction.evidence(prediction.masks[:, None])
        return FrameResult(**_place(prediction), semantic=self._classes(evidence)[0])

    def video(self, predictions: Iterable[FramePrediction]) -> VideoResult:
        """The best class of each pixel, with the classes of the whole video."""
        evidence, times = _whole(predictions)
        return VideoResult(*evidence.output, times, categories=list(self.categories), semantic=self._classes(evidence))

    def _classes(self, evidence: VideoEvidence) -> NDArray[np.integer]:
        classes: NDArray[np.int32] = self.results(evidence)["pred_masks"].numpy()
        return classes.astype(np.uint8 if evidence.probabilities.shape[1] <= 256 else np.int16)


_NO_FRAME = "a frame source without frames must raise VideoError"


def _place(prediction: FramePrediction) -> dict[str, Any]:
    """Number, time and size of a frame."""
    height, width = prediction.size
    return {"index": prediction.frame.index, "time_s": prediction.frame.time_s, "height": height, "width": width}


def _whole(predictions: Iterable[FramePrediction]) -> tuple[VideoEvidence, list[float]]:
    """What is known after the last frame, mask logits at stride 4 on the CPU; and the frames' times."""
    masks, times = [], []
    last: FramePrediction | None = None
    for last in predictions:
        masks.append(last.masks.float().cpu())
        times.append(last.frame.time_s)
    if last is None:
        raise AssertionError(_NO_FRAME)
    return last.evidence(torch.stack(masks, dim=1)), times


def _segments(infos: Sequence[dict[str, Any]], ids: NDArray[np.int32], table: NDArray[np.int32]) -> list[Segment]:
    """Segments with their areas in ``ids``; ``table`` has the id there of each one's own id."""
    areas = np.bincount(ids.ravel(), minlength=int(table.max()) + 1)
    numbered = [(int(table[info["id"]]), info) for info in infos]
    return [Segment(number, info["category_id"], info["isthing"], int(areas[number])) for number, info in numbered]
