"""What the offline model keeps of a video: what the refiner needs, by the formula of the README, and nothing else."""

import gc
import weakref
from dataclasses import fields, is_dataclass

import numpy as np
import pytest
import torch

from dense import VideoPredictor
from dense.inference.stream_windows import StreamState
from dense.modeling.video import GatheringModel, run_windows
from dense.projects.dvis.refiners import temporal

HEIGHT, WIDTH = 40, 52  # 64 x 64 padded, maps of 16 x 16
QUERIES, CLASSES, MASK_WIDTH, EMBED = 16, 14, 32, 64


@pytest.fixture
def model(build):
    return build("OfflineVideoSegmenter").eval()


def storages(value):
    """Bytes of all memory that the tensors of a state hold, each piece once, whatever part of it they show."""
    found, todo = {}, [value]
    while todo:
        item = todo.pop()
        if isinstance(item, torch.Tensor):
            found[item.untyped_storage().data_ptr()] = item.untyped_storage().nbytes()
        elif is_dataclass(item):
            todo += [getattr(item, field.name) for field in fields(item)]
        elif isinstance(item, tuple | list):
            todo += item
    return sum(found.values())


def taken(model, frames):
    state = model.start()
    for first in range(0, len(frames), model.intake):
        state = model.take(frames[first : first + model.intake], state)
    return state


def test_take__frames__each_costs_what_the_readme_says(model, noise):
    """Catches decoded frames, network inputs, masks, embeddings of all layers or views into larger memory that are kept."""
    assert isinstance(model, GatheringModel)
    formula = 4 * (MASK_WIDTH * 16 * 16 + 2 * QUERIES * EMBED + QUERIES * (CLASSES + 1))
    few, many = (storages(taken(model, noise(count))) for count in (6, 12))
    assert many - few == 6 * formula
    assert few - 6 * formula < formula  # what does not grow: the tracker's state and the sum of logits


def test_judge__windows_taken__their_features_are_freed(model, noise):
    """Catches mask features and masks of a whole video side by side."""
    state = taken(model, noise(12))
    features = [weakref.ref(clip.mask_features) for clip in state.waiting]
    windows, state = model.judge(state)
    for left in range(3, -1, -1):
        next(windows)
        gc.collect()
        assert sum(alive() is not None for alive in features) <= left + 1  # the one in hand
    assert next(windows, None) is None


@pytest.mark.parametrize("call", ["predict", "stream"])
def test_predictor__whole_video__frames_are_let_go(model, noise, call):
    """Catches decoded frames and the network's inputs that wait with the refiner's: more than the features of small models."""
    pictures, inputs, most = [], [], [0, 0]

    def source():
        for frame in noise(12):
            picture = np.ascontiguousarray(frame.permute(1, 2, 0).numpy().copy())
            pictures.append(weakref.ref(picture))
            yield picture

    take = model.take

    def watched(frames, state):
        inputs.extend(weakref.ref(frame) for frame in frames)
        for i, refs in enumerate((pictures, inputs)):
            most[i] = max(most[i], sum(ref() is not None for ref in refs))
        return take(frames, state)

    model.take = watched
    result = getattr(VideoPredictor(model, min_size=0), call)(source())
    assert (len(result.times_s) if call == "predict" else len(list(result))) == 12
    assert len(inputs) == len(pictures) == 12
    assert max(most) <= 2 * model.intake


def test_stream_frames__whole_video__pictures_come_along(model, noise):
    """Catches pictures of zeros handed to somebody who draws on them."""
    pictures = [np.ascontiguousarray(frame.permute(1, 2, 0).numpy()) for frame in noise(7)]
    drawn = list(VideoPredictor(model, min_size=0).stream_frames(pictures, StreamState()))
    assert [np.array_equal(frame.image, picture) for (frame, _), picture in zip(drawn, pictures, strict=True)] == [True] * 7


def test_run_windows__parts_or_whole__one_tensor_of_masks(model, noise):
    """Catches masks joined in another order, and windows that write over each other."""
    model.window = 3
    _, masks = run_windows(model, noise(8), 3)
    state, parts = model.start(), []
    for first in (0, 3, 6):
        window, state = model.step(noise(8)[first : first + 3], state)
        parts.append(window.masks)
    assert torch.equal(masks, torch.cat(parts, dim=1))
    assert masks.untyped_storage().nbytes() == masks.nbytes


def test_refiner__long_video__attends_some_objects_at_a_time(model, monkeypatch):
    """Catches weights of all objects, heads and pairs of frames at once, which grow with the square of the frames."""
    torch.manual_seed(0)
    objects, queries = torch.randn(2, 1, 40, QUERIES, EMBED)
    layer, seen = model.refiner.transformer_time_self_attention_layers[0], []
    layer.register_forward_hook(lambda module, given, result: seen.append(len(given[0])))
    with torch.no_grad():
        (whole,) = model.refiner.relate(objects, queries)
        monkeypatch.setattr(temporal, "_WEIGHTS", 3 * 2 * 40**2)  # three objects, two heads
        (parts,) = model.refiner.relate(objects, queries)
    assert seen == [16, 3, 3, 3, 3, 3, 1]
    assert float((whole - parts).abs().max()) <= 1e-6 * float(whole.abs().max())
