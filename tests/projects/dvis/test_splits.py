"""Any split of a video into windows, and any stop with a state that is saved and read again, gives the same numbers."""

import io
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dense import VideoPredictor
from dense.errors import CheckpointError
from dense.inference.stream_windows import StreamState
from dense.modeling.stream_state import plain_state, restored_state

FRAMES = 7
NOISE = 4e-6  # of the greatest value; 1e-6 is seen: convolutions and products of other batch sizes add in another order
MODELS = {
    "minvis": ("VideoSegmenter", []),
    "minvis-memory": (
        "VideoSegmenter",
        ["MODEL.ASSOCIATION.NAME", "MemoryAssociation", "MODEL.MASK_FORMER.TEST.PRESENCE_THRESHOLD", 0.3],
    ),
    "ctvis": ("VideoSegmenter", ["MODEL.CL_PLUGIN.ENABLED", True]),
    "online": ("OnlineVideoSegmenter", []),
    "offline": ("OfflineVideoSegmenter", ["MODEL.REFINER.WINDOW", 3]),
}


@pytest.fixture(scope="module")
def made(build):
    """Function from a name and further options to a model of its own; CTVIS has a head that MinVIS has not."""

    def make(name, *options):
        kind, fixed = MODELS[name]
        return build(kind, *fixed, *options, reid=not name.startswith("minvis")).eval()

    return make


@pytest.fixture(scope="module")
def whole(made, noise):
    """Function from a name to a model and, in one step over all frames, its window."""

    @cache
    def run(name):
        model = made(name)
        return model, model.step(noise(FRAMES), model.start())[0]

    return run


def near(ours, theirs, limit=NOISE):
    return float((ours - theirs).abs().max()) <= limit * float(theirs.abs().max())


def stepped(model, frames, sizes, state=None):
    """Class probabilities of each frame and masks, with steps of the given sizes; and the state."""
    state, logits, masks, first = model.start() if state is None else state, [], [], 0
    for size in sizes:
        window, state = model.step(frames[first : first + size], state)
        logits.append(window.logits)
        masks.append(window.masks)
        first += size
    return torch.cat(logits), torch.cat(masks, dim=1), state


def sizes_of(cuts, count=FRAMES):
    """Sizes of the parts between cuts."""
    edges = [0, *sorted(cuts), count]
    return [b - a for a, b in pairwise(edges)]


@pytest.mark.parametrize("name", [name for name in MODELS if name != "offline"])
@settings(max_examples=12, deadline=None)
@given(cuts=st.sets(st.integers(1, FRAMES - 1)))
def test_step__any_split__changes_no_number(whole, noise, name, cuts):
    """Catches a state that forgets, counts or keeps anything at the border of a window; the noise is that of float32 sums."""
    model, expected = whole(name)
    logits, masks, state = stepped(model, noise(FRAMES), sizes_of(cuts))
    assert near(logits, expected.logits)
    assert near(masks, expected.masks)
    assert state.frames == FRAMES


@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize("cut", [1, 4])
def test_state__saved_and_read__fresh_model_goes_on_to_the_bit(made, noise, name, cut):
    """Catches a part of the state that lies in the module or is lost in the file."""
    frames, first, fresh = noise(FRAMES), made(name), made(name)
    _, _, state = stepped(first, frames, [cut])
    fresh.load_state_dict(first.state_dict())
    file = io.BytesIO()
    torch.save(plain_state(state), file)
    file.seek(0)
    again = restored_state(type(fresh.start()), torch.load(file, weights_only=True), "state")
    logits, masks, after = stepped(first, frames[cut:], [2, FRAMES - cut - 2], state)
    same_logits, same_masks, same = stepped(fresh, frames[cut:], [2, FRAMES - cut - 2], again)
    assert torch.equal(logits, same_logits)
    assert torch.equal(masks, same_masks)
    assert after.frames == same.frames == FRAMES


@pytest.mark.parametrize("intake", [1, 2, 5, 100])
def test_offline__frames_taken_at_a_time__change_no_number(made, whole, noise, intake):
    """Catches windows of the segmenter that show: a tracker that starts again, features or logits in another order."""
    _, expected = whole("offline")
    model = made("offline", "MODEL.MASK_FORMER.TEST.WINDOW_SIZE", intake)
    assert model.intake == intake
    window, _ = model.step(noise(FRAMES), model.start())
    assert near(window.logits, expected.logits)
    assert near(window.masks, expected.masks)
    assert near(window.auxiliary, expected.auxiliary)


@pytest.mark.parametrize("cuts", [{3}, {1, 2, 6}])
def test_offline__windows_of_the_refiner__only_its_own_view_changes(whole, noise, cuts):
    """Catches a tracker that starts again with each window that is refined; the refiner's masks do differ, by design."""
    model, expected = whole("offline")
    state, auxiliary, masks, first = model.start(), [], [], 0
    for size in sizes_of(cuts):
        window, state = model.step(noise(FRAMES)[first : first + size], state)
        auxiliary.append(window.auxiliary)
        masks.append(window.masks)
        first += size
    assert near(torch.cat(auxiliary), expected.auxiliary)
    assert not near(torch.cat(masks, dim=1), expected.masks)


def test_offline__taken_frames__wait_in_a_saved_state(made, noise):
    """Catches frames between intake and refiner that do not come along when a stream moves to another process."""
    model = made("offline")
    frames = noise(5)
    state = model.take(frames[3:], model.take(frames[:3], model.start()))
    again = restored_state(type(state), plain_state(state), "state")
    for held in (state, again):
        windows, after = model.judge(held)
        parts = list(windows)
        assert [part.masks.shape[1] for part in parts] == [3, 2]
        assert not after.waiting
        expected, _ = model.step(frames, model.start())
        assert torch.equal(torch.cat([part.masks for part in parts], dim=1), expected.masks)
        assert torch.equal(torch.cat([part.logits for part in parts]), expected.logits)


def pictures(noise, count=FRAMES):
    return [np.ascontiguousarray(frame.permute(1, 2, 0).numpy()) for frame in noise(count)]


def assert_same_results(results, expected):
    """The same objects, scores but for the noise, and masks but for pixels whose logit is zero but for the noise."""
    assert [r.index for r in results] == [r.index for r in expected]
    for ours, theirs in zip(results, expected, strict=True):
        assert ours.track_ids == theirs.track_ids
        assert ours.labels == theirs.labels
        assert ours.scores == pytest.approx(theirs.scores, abs=1e-5)
        assert ours.time_s == pytest.approx(theirs.time_s)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "offline"])
@pytest.mark.parametrize("stop", [1, 2, 3, 5])
def test_stream__stopped_anywhere_saved_and_continued__same_results(made, noise, tmp_path, name, stop):
    """Catches a state at the end of a window of which not all frames were taken: the rest would be lost or seen twice."""
    model, frames = made(name), pictures(noise)
    once = list(VideoPredictor(model, min_size=0, min_score=0.02).stream(frames))
    assert sum(len(result.track_ids) for result in once) > FRAMES
    stream, state = VideoPredictor(model, min_size=0, min_score=0.02), StreamState()
    results = []
    for result in stream.stream(frames, state):
        results.append(result)
        if len(results) == stop:
            break
    assert state.frames == stop
    state.save(tmp_path / "state.pt", model)
    fresh = made(name)
    fresh.load_state_dict(model.state_dict())
    other = VideoPredictor(fresh, min_size=0, min_score=0.02)
    results += other.stream(frames[stop:], StreamState.load(tmp_path / "state.pt", fresh))
    assert_same_results(results, once)


def test_stream__offline_stopped_in_a_window__goes_on_after_it(made, noise):
    """Catches frames numbered twice: a window that is refined together is also left behind together."""
    model, state = made("offline"), StreamState()
    assert next(VideoPredictor(model, min_size=0).stream(pictures(noise), state)).index == 0
    assert state.frames == 3
    assert not state.replay
    assert [r.index for r in VideoPredictor(model, min_size=0).stream(pictures(noise, 2), state)] == [3, 4]


def test_stream__outputs_not_finite__state_stays_usable(made, noise):
    """Catches frames that were taken before an error and come out of the next call."""
    model, state = made("offline"), StreamState()
    list(VideoPredictor(model, min_size=0).stream(pictures(noise, 3), state))
    weight = model.tracker.class_embed.weight
    kept = weight.detach().clone()
    weight.data[0, 0] = torch.nan
    with pytest.raises(FloatingPointError):
        list(VideoPredictor(model, min_size=0).stream(pictures(noise, 3), state))
    weight.data.copy_(kept)
    assert [r.index for r in VideoPredictor(model, min_size=0).stream(pictures(noise, 2), state)] == [3, 4]


def test_stream_state__new__is_saved_as_new(made, tmp_path):
    """Catches a state before the first frame that cannot be saved."""
    model = made("online")
    StreamState().save(tmp_path / "state.pt", model)
    assert StreamState.load(tmp_path / "state.pt", model) == StreamState()


def test_stream_state__other_model_or_file__is_one_clear_line(made, noise, tmp_path):
    """Catches a state of other sizes that fails deep inside the next step, and files that hold something else."""
    model, state, path = made("online"), StreamState(), tmp_path / "state.pt"
    list(VideoPredictor(model, min_size=0).stream(pictures(noise, 2), state))
    state.save(path, model)
    for other in (made("ctvis"), made("online", "MODEL.MASK_FORMER.NUM_OBJECT_QUERIES", 7)):
        with pytest.raises(CheckpointError, match="belongs to another model"):
            StreamState.load(path, other)
    torch.save({"model": {}}, path)
    with pytest.raises(CheckpointError, match="is no state of a stream"):
        StreamState.load(path, model)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("frames"), "fields"),
        (lambda s: s.update(frames=-1), "frames are -1"),
        (lambda s: s.update(frames="7"), "expected a int"),
        (lambda s: s.update(replay=3), "expected a list"),
        (lambda s: s["model"].update(tracker=[1]), "fields last, matching"),
        (lambda s: s["model"]["tracker"].update(last=None), "expected a Tensor"),
    ],
)
def test_stream_state__damaged__names_the_field(made, noise, tmp_path, change, words):
    """Catches foreign errors, or a state that is taken although a part is missing."""
    model, state, path = made("online"), StreamState(), tmp_path / "state.pt"
    list(VideoPredictor(model, min_size=0).stream(pictures(noise, 2), state))
    state.save(path, model)
    content = torch.load(path, weights_only=True)
    change(content["stream"])
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=words) as caught:
        StreamState.load(path, model)
    assert "\n" not in str(caught.value)
