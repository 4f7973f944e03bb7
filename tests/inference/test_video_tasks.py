"""Panoptic and semantic predictions: the whole video equals the model's own forward; a stream is stable and ends alike."""

import numpy as np
import pytest
import torch

from dense.inference.video_predictor import StreamState, VideoPredictor
from dense.projects.dvis.results import PanopticResults, SemanticResults


@pytest.fixture(scope="module")
def mapped(tiny):
    """Function from a task and a window to a predictor with maps of a model with random weights."""
    torch.manual_seed(3)
    source = VideoPredictor(tiny, min_size=64, max_size=128)

    def make(task, window=3, object_threshold=0.0, overlap_threshold=0.0, things=range(7)):
        rule = PanopticResults(things=frozenset(things), object_threshold=object_threshold, overlap_threshold=overlap_threshold)
        source.model.results = rule if task == "vps" else SemanticResults()
        source.model.window, source.model.whole_video = window, False
        return VideoPredictor(source.model, min_size=64, max_size=128, categories=source.categories)

    with torch.no_grad():  # classes that are not all alike, and every query an object
        source.model.sem_seg_head.predictor.class_embed.weight.mul_(40)
        for name, value in source.model.sem_seg_head.predictor.named_parameters():
            if "mask_embed" in name or "query_feat" in name:
                value.mul_(8)  # queries and masks that differ
        source.model.sem_seg_head.predictor.class_embed.bias[-1] = -50
    return make


def forward(predictor, frames):
    """The result of the model's own forward on the whole video."""
    images = [predictor.input.tensor(frame) for frame in frames]
    (result,) = predictor.model([{"image": images, "height": frames.shape[1], "width": frames.shape[2]}])
    return result


@pytest.mark.parametrize("window", [1, 3, 5])
def test_predict__panoptic__equals_the_models_own_forward(mapped, clip, window):
    """Catches a second rule inside the predictor: other sizes, classes of the wrong frame, areas of one frame."""
    frames = clip(7, 50, 90)
    predictor = mapped("vps", window)
    found, expected = predictor.predict(frames), forward(predictor, frames)
    assert len(expected["segments_infos"]) > 1
    assert np.array_equal(found.panoptic, expected["pred_masks"].numpy())
    listed = [{"id": s.id, "isthing": s.isthing, "category_id": s.label} for s in found.segments]
    assert listed == expected["segments_infos"]
    assert [s.area for s in found.segments] == [int((found.panoptic == s.id).sum()) for s in found.segments]
    assert (found.height, found.width, found.num_frames, found.tracks) == (50, 90, 7, [])


@pytest.mark.parametrize("window", [1, 3, 5])
def test_predict__semantic__equals_the_models_own_forward(mapped, clip, window):
    """Catches as above; and classes that do not fit their type."""
    frames = clip(7, 50, 90)
    predictor = mapped("vss", window)
    found = predictor.predict(frames)
    assert found.semantic.dtype == np.uint8
    assert len(np.unique(found.semantic)) > 1
    assert np.array_equal(found.semantic, forward(predictor, frames)["pred_masks"].numpy())


@pytest.mark.parametrize("window", [1, 4])
def test_stream__semantic__each_frame_is_the_end_of_the_video_so_far(mapped, clip, window):
    """Catches classes of the window's last frame for all of its frames, and classes that forget."""
    frames = clip(6)
    predictor = mapped("vss", window)
    streamed = list(predictor.stream(iter(frames)))
    for t, result in enumerate(streamed):
        assert np.array_equal(result.semantic, predictor.predict(frames[: t + 1]).semantic[t])


@pytest.mark.parametrize("window", [1, 4])
def test_stream__panoptic__one_id_per_query_and_per_stuff_category(mapped, clip, window):
    """Catches ids that count from 1 in every frame, so that an object changes its colour when another one comes."""
    frames = clip(6)
    predictor = mapped("vps", window)
    alone = PanopticResults(things=frozenset(range(7)), object_threshold=0.0, overlap_threshold=0.0)
    compared = 0
    for prediction, result in zip(
        predictor._predictions(iter(frames), StreamState(), pictures=False), predictor.stream(iter(frames)), strict=True
    ):
        rule = alone(prediction.evidence(prediction.masks[:, None]))
        ids = rule["pred_masks"][0].numpy()
        assert result.panoptic.dtype == np.int32
        assert np.array_equal(result.panoptic == 0, ids == 0)
        for segment, info, query in zip(result.segments, rule["segments_infos"], rule["pred_ids"], strict=True):
            assert segment.id == (query + 1 if info["isthing"] else 16 + 1 + info["category_id"])  # 16 queries
            assert np.array_equal(result.panoptic == segment.id, ids == info["id"])
            assert segment.area == int((ids == info["id"]).sum())
            assert (segment.label, segment.isthing) == (info["category_id"], info["isthing"])
            compared += 1
    assert compared > 6


def test_stream__panoptic_continued_with_state__goes_on_with_the_ids(mapped, clip):
    """Catches a state that is not handed on: ids that start again."""
    frames = clip(6)
    predictor = mapped("vps", 2)
    whole = list(predictor.stream(iter(frames)))
    state = StreamState()
    parts = [*predictor.stream(iter(frames[:4]), state), *predictor.stream(iter(frames[4:]), state)]
    assert [r.index for r in parts] == list(range(6))
    assert all(np.array_equal(a.panoptic, b.panoptic) for a, b in zip(whole, parts, strict=True))


def test_stream__nothing_kept__empty_map(mapped, clip):
    """Catches an IndexError where no query is an object."""
    (result,) = mapped("vps", object_threshold=1.0).stream(iter(clip(1)))
    assert not result.panoptic.any()
    assert result.segments == []


def test_task__of_a_model__is_that_of_its_results(mapped):
    """Catches a task that is asked from the configuration, which a model that is handed over has not."""
    assert [mapped(task).task for task in ("vps", "vss")] == ["vps", "vss"]
