"""VideoPredictor: what goes in, what is refused, and that a stream gives the numbers of the whole clip."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from dense.errors import ConfigError, DenseError, VideoError
from dense.inference.video_predictor import StreamState, VideoPredictor
from dense.modeling.video import QueryWindow
from dense.structures.rle import decode
from dense.video import DamagedVideoError, Frame


class Recorder(nn.Module):
    """A streaming model that keeps what it is given; object q covers row q of every frame."""

    window = 2

    def __init__(self, queries=3, classes=2):
        super().__init__()
        self.queries, self.classes, self.seen = queries, classes, []

    def start(self):
        return 0

    def step(self, frames, state):
        self.seen += list(frames)
        height, width = frames[0].shape[-2:]
        logits = torch.full((len(frames), self.queries, self.classes + 1), -20.0)
        logits[:, :, 0] = 20.0
        masks = torch.full((self.queries, len(frames), height, width), -5.0)
        for q in range(self.queries):
            masks[q, :, q] = 5.0
        return QueryWindow(logits, masks, (height, width), (height, width)), state + len(frames)


def at_once(model, frames, **size):
    """What the model's own forward gives for a clip, by query: label, score, masks (the best class of each query)."""
    model.results.max_objects = 10_000  # every (query, class) pair
    record = {"image": [torch.from_numpy(f.transpose(2, 0, 1).copy()) for f in frames], **size}
    (result,) = model([record])
    best = {}
    for query, label, score, masks in zip(*(result[f"pred_{k}"] for k in ("ids", "labels", "scores", "masks")), strict=True):
        if query not in best or score > best[query][1]:
            best[query] = (label, score, masks.numpy())
    return best


def assert_same_masks(rle, mask):
    """At most one pixel in ten thousand may differ: sums of another order move a border that lies on zero."""
    found = np.zeros_like(mask) if rle is None else decode(rle).astype(bool)
    assert np.count_nonzero(found != mask) <= 1e-4 * mask.size


@pytest.mark.parametrize("window", [1, 3, 5])
def test_stream__any_window__gives_the_numbers_of_the_clip_at_once(predictor, clip, window):
    """Catches frames lost or doubled at window borders, ids that change there, and class means over the wrong frames."""
    frames = clip(11)
    streaming = predictor(window)
    results = list(streaming.stream(iter(frames)))
    streaming.model.whole_video = True
    whole = at_once(streaming.model, frames)
    assert [r.index for r in results] == list(range(11))
    assert sum(len(r.track_ids) for r in results) > 11  # there is something to compare
    for t, result in enumerate(results):
        seen = dict(zip(result.track_ids, result.masks, strict=True))
        for query, (_, _, masks) in whole.items():
            assert_same_masks(seen.get(query), masks[t])
        prefix = at_once(streaming.model, frames[: t + 1])
        for query, label, score in zip(result.track_ids, result.labels, result.scores, strict=True):
            assert label == prefix[query][0]
            assert score == pytest.approx(prefix[query][1], abs=1e-5)


@pytest.mark.parametrize("window", [1, 3, 5])
def test_predict__any_window__equals_the_models_own_forward(predictor, clip, window):
    """Catches a second, different path from logits to results inside the predictor (order, scores, masks, resizing)."""
    frames = clip(7, 80, 110)  # scaled down for the network, masks scaled back up
    predicting = predictor(window, max_objects=9)
    result = predicting.predict(frames)
    inputs = [predicting.input.tensor(f).permute(1, 2, 0).numpy() for f in frames]
    assert inputs[0].shape == (64, 88, 3)
    predicting.model.results.max_objects = 9
    record = {"image": [torch.from_numpy(f.transpose(2, 0, 1).copy()) for f in inputs], "height": 80, "width": 110}
    (expected,) = predicting.model([record])
    assert [t.track_id for t in result.tracks] == expected["pred_ids"]
    assert [t.label for t in result.tracks] == expected["pred_labels"]
    assert [t.score for t in result.tracks] == pytest.approx(expected["pred_scores"], abs=1e-5)
    for track, masks in zip(result.tracks, expected["pred_masks"], strict=True):
        assert len(track.masks) == 7
        for rle, mask in zip(track.masks, masks.numpy(), strict=True):
            assert_same_masks(rle, mask)


@pytest.mark.parametrize("cut", [3, 4])  # on and off a window's border
def test_stream__continued_with_state__goes_on_with_objects_frames_and_times(predictor, clip, cut):
    """Catches a second call that starts again: other ids, frame 0, time 0, or class means that forget the first part."""
    frames = clip(9)
    streaming = predictor(3)
    state = StreamState()
    first = list(streaming.stream(frames[:cut], state))
    second = list(streaming.stream(frames[cut:], state))
    once = list(predictor(3).stream(frames))
    assert state.frames == 9
    assert state.time_s == pytest.approx(0.8)
    for got, expected in zip([*first, *second], once, strict=True):
        assert got.index == expected.index
        assert got.time_s == pytest.approx(expected.time_s)
        by_id = dict(zip(expected.track_ids, zip(expected.labels, expected.scores, expected.masks, strict=True), strict=True))
        assert set(got.track_ids) == set(by_id)
        for query, label, score, rle in zip(got.track_ids, got.labels, got.scores, got.masks, strict=True):
            assert (label, score) == (by_id[query][0], pytest.approx(by_id[query][1], abs=1e-5))
            assert_same_masks(rle, decode(by_id[query][2]).astype(bool))


def test_stream__continued_with_absolute_times__keeps_them(clip):
    """Catches times that are shifted although the second part's own times go on already."""
    frames = [Frame(t, 0.5 * t, image, f"{t}.jpg") for t, image in enumerate(clip(5))]
    predictor = VideoPredictor(Recorder(), categories=("a", "b"))
    state = StreamState()
    results = [*predictor.stream_frames(frames[:2], state), *predictor.stream_frames(frames[2:], state)]
    assert [r.time_s for _, r in results] == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert [f.name for f, _ in results] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "4.jpg"]
    assert all(a.index + 1 == b.index for (a, _), (b, _) in pairwise(results))


def test_stream__damage_in_the_middle__delivers_the_frames_before_it(clip):
    """Catches frames of a half-filled window that are thrown away with the error."""

    def damaged():
        yield from clip(3)
        raise DamagedVideoError("x.mp4: damaged after frame 2", 3)

    stream = VideoPredictor(Recorder(), categories=("a", "b")).stream(damaged())
    assert [next(stream).index for _ in range(3)] == [0, 1, 2]
    with pytest.raises(DamagedVideoError, match=r"x\.mp4"):
        next(stream)


def test_stream__frames_change_size__delivers_then_says_which_frame(clip):
    """Catches masks of one size drawn over frames of another."""
    frames = [*clip(3), *clip(2, 70, 96)]
    stream = VideoPredictor(Recorder(), categories=("a", "b")).stream(frames)
    assert [next(stream).height for _ in range(3)] == [64, 64, 64]
    with pytest.raises(VideoError, match="frame 3 is 96x70"):
        next(stream)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (None, "NoneType"),
        (3.5, "float"),
        ("no/such.mp4", "no such file"),
        (np.zeros((8, 8, 3), np.uint8), r"\(8, 8, 3\)"),
        (np.zeros((2, 8, 8, 3), np.float32), "float32"),
        (np.zeros((2, 3, 8, 8), np.uint8), r"\(3, 8, 8\)"),
        (["a", "b"], "str"),
        ([], "no frame"),
        (b"abc", "bytes"),
        ({"frames": 1}, "dict"),
    ],
)
def test_predict__wrong_input__is_one_clear_line(wrong, words):
    """Catches foreign errors from deep inside NumPy or torch, and endless or silent processing of nonsense."""
    for call in (lambda p: p.predict(wrong), lambda p: list(p.stream(wrong))):
        with pytest.raises(VideoError, match=words) as caught:
            call(VideoPredictor(Recorder(), categories=("a", "b")))
        assert "\n" not in str(caught.value)


def test_predictor__bgr_configuration__swaps_the_channels(tiny, clip):
    """Catches a model trained on BGR that is fed RGB: no error, only bad figures."""
    seen = {}
    for order in ("RGB", "BGR"):
        predictor = VideoPredictor(tiny, ["INPUT.FORMAT", order, "INPUT.MIN_SIZE_TEST", "0"])
        predictor.model = Recorder()
        predictor.predict(clip(2))
        seen[order] = torch.stack(predictor.model.seen)
    assert torch.equal(seen["RGB"], torch.from_numpy(clip(2).transpose(0, 3, 1, 2).copy()))
    assert torch.equal(seen["BGR"], seen["RGB"].flip(1))


def test_predictor__categories__come_from_argument_or_configuration(tiny, clip):
    """Catches names of another data set in the results."""
    from dense.data.world.categories import THINGS

    assert VideoPredictor(tiny).categories == tuple(THINGS)
    assert VideoPredictor(Recorder(), categories=["cat", "dog"]).predict(clip(2)).categories == ["cat", "dog"]
    own = VideoPredictor(tiny, ["MODEL.SEM_SEG_HEAD.NUM_CLASSES", "3"])  # the data set has 14
    assert own.categories == ("category 0", "category 1", "category 2")


def test_stream__vocabulary_for_a_closed_model__is_refused(clip):
    """Catches words that are ignored in silence: the user would believe they were looked for."""
    with pytest.raises(ConfigError, match="vocabulary"):
        next(VideoPredictor(Recorder(), categories=("a", "b")).stream(clip(2), vocabulary=["a cat"]))


def test_predictor__model_without_video__is_refused():
    """Catches an AttributeError in the first frame."""
    with pytest.raises(ConfigError, match="Linear: is no video model"):
        VideoPredictor(nn.Linear(2, 2))


@pytest.mark.parametrize(
    "setting", [{"min_score": 1.5}, {"min_score": float("nan")}, {"min_size": -1}, {"max_size": 0}, {"max_objects": 0}]
)
def test_predictor__setting_out_of_range__names_it(setting):
    """Catches settings that would silently give nothing, or fail inside torch."""
    with pytest.raises(ConfigError, match=next(iter(setting))):
        VideoPredictor(Recorder(), **setting)


def test_stream__min_score__shows_only_objects_from_it_on(predictor, clip):
    """Catches a threshold that is ignored, or applied to something else than the reported score."""
    frames = clip(4)
    everything = [s for r in predictor(2).stream(frames) for s in r.scores]
    threshold = float(np.median(everything))
    some = [s for r in predictor(2, min_score=threshold).stream(frames) for s in r.scores]
    assert 0 < len(some) < len(everything)
    assert sorted(some) == sorted(s for s in everything if s >= threshold)


def test_stream__consumer_stops_early__source_is_closed(clip):
    """Catches files and cameras left open when a user breaks out of the loop."""
    from dense.video import open_frames

    source = open_frames(clip(6))
    closed = []
    source.close = lambda: closed.append(True)
    stream = VideoPredictor(Recorder(), categories=("a", "b")).stream_frames(source)
    next(stream)
    stream.close()
    assert closed


def test_predictor__nonsense_as_model__is_one_clear_line():
    """Catches an AttributeError about a configuration's insides."""
    for wrong in (3, ["a"], {"MODEL": 1}):
        with pytest.raises(DenseError, match=type(wrong).__name__):
            VideoPredictor(wrong)
