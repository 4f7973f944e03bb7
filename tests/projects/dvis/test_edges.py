"""Videos and clips at the edge: none, one or many frames; no, few or too many objects; every task and model."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dense import VideoPredictor
from dense.errors import DataError, VideoError
from dense.modeling.video import run_windows

KINDS = ["VideoSegmenter", "OnlineVideoSegmenter", "OfflineVideoSegmenter"]
TASKS = ["vis", "vss", "vps"]
QUERIES, CLASSES = 16, 14
TEST = "MODEL.MASK_FORMER.TEST."


@pytest.fixture(params=[(kind, task) for kind in KINDS for task in TASKS], ids="-".join)
def model(request, build):
    """A model of each kind for each task."""
    kind, task = request.param
    return build(kind, f"{TEST}TASK", task, f"{TEST}THING_CLASSES", [0, 1, 2], f"{TEST}MAX_NUM", 1000).eval()


def check_result(result, frames, height, width, queries=QUERIES):
    """What every result must be, whatever is in it."""
    assert result["image_size"] == (height, width)
    if result["task"] == "vis":
        scores = torch.tensor(result["pred_scores"])
        assert len(scores) == len(result["pred_masks"]) == queries * CLASSES  # all pairs: MAX_NUM is larger
        assert ((scores >= 0) & (scores <= 1)).all()
        assert all(mask.shape == (frames, height, width) and mask.dtype == torch.bool for mask in result["pred_masks"])
        return
    maps = result["pred_masks"]
    assert maps.shape == (frames, height, width)
    if result["task"] == "vss":
        assert 0 <= int(maps.min()) <= int(maps.max()) < CLASSES
    else:
        assert set(maps.unique().tolist()) <= {0, *(segment["id"] for segment in result["segments_infos"])}
        assert len(result["pred_ids"]) == len(result["segments_infos"])


def find_nothing(model):
    """Make the last class certain for every query."""
    heads = {"VideoSegmenter": model.sem_seg_head.predictor}
    last = heads.get(type(model).__name__, getattr(model, "refiner", getattr(model, "tracker", None)))
    for part in {last, getattr(model, "tracker", last)}:
        part.class_embed.bias.data[-1] = 1000.0


def test_video__without_frames__is_one_clear_error(model):
    """Catches foreign errors about empty sequences."""
    with pytest.raises(DataError, match="has no frame"):
        model([{"image": [], "height": 10, "width": 10}])
    for call in ("predict", "stream"):
        with pytest.raises(VideoError, match="no frame"):
            list(getattr(VideoPredictor(model, min_size=0), call)([]) or [])


@pytest.mark.parametrize("size", [(40, 52), (33, 1)])
def test_video__single_frame__gives_a_result(model, noise, size):
    """Catches axes of one frame that are squeezed away, and NaN from statistics over one frame."""
    (result,) = model([{"image": noise(1, *size), "height": 21, "width": 34}])
    check_result(result, 1, 21, 34)


@pytest.mark.parametrize("frames", [2, 5])
def test_video__windows_larger_than_it__change_nothing(build, noise, frames):
    """Catches windows that are filled up with other frames."""
    for kind in KINDS:
        windows = [f"{TEST}WINDOW_SIZE", 100, "MODEL.REFINER.WINDOW", 1000]
        large, whole = build(kind, *windows).eval(), build(kind, f"{TEST}WINDOW_INFERENCE", False).eval()
        (ours, masks), (theirs, other) = (run_windows(model, noise(frames), 100) for model in (large, whole))
        assert torch.equal(ours.logits, theirs.logits)
        assert torch.equal(masks, other)
        assert len(VideoPredictor(large, min_size=0).predict([np.zeros((40, 52, 3), np.uint8)] * frames).times_s) == frames


def test_video__frames_change_size__names_the_frame(model, noise):
    """Catches frames that are padded to the greatest, so that masks of the others lie elsewhere."""
    mixed = [*noise(4), *noise(1, 52, 40)]
    with pytest.raises(DataError, match=r"frame 4 is 40x52 \(width x height\), frame 0 is 52x40"):
        model([{"image": mixed}])
    with pytest.raises(DataError, match="frame 1 is 40x52"):
        model.step(mixed[3:], model.start())
    with pytest.raises(VideoError, match="frame 4 is 40x52"):
        VideoPredictor(model, min_size=0).predict([frame.permute(1, 2, 0).numpy() for frame in mixed])


def test_offline__taken_frames_of_several_sizes__are_an_error(build, noise):
    """Catches windows whose masks cannot be joined, found only after the refiner has run."""
    model = build("OfflineVideoSegmenter").eval()
    state = model.take(noise(2, 52, 40), model.take(noise(2), model.start()))
    with pytest.raises(DataError, match="all of one size"):
        model.judge(state)
    with pytest.raises(DataError, match="at least one frame"):
        model.judge(model.start())


def test_video__no_objects__empty_result(model, noise):
    """Catches division by nothing, and maps that hold segments nobody found."""
    find_nothing(model)
    (result,) = model([{"image": noise(3)}])
    check_result(result, 3, 40, 52)
    if result["task"] == "vis":
        assert max(result["pred_scores"]) == 0
    if result["task"] == "vps":
        assert not result["pred_masks"].any()
        assert result["segments_infos"] == result["pred_ids"] == []


def clip(objects, frames=3, sizes=((40, 52),), visible=lambda i, t: True):
    """A clip in which object i is visible in frame t, or not."""
    torch.manual_seed(2)
    sizes = [sizes[t % len(sizes)] for t in range(frames)]
    ids = torch.tensor([[i if visible(i, t) else -1 for t in range(frames)] for i in range(objects)]).view(objects, frames)
    labels = torch.arange(objects) % CLASSES
    instances = [
        SimpleNamespace(
            ids=ids[:, t], labels=torch.where(ids[:, t] == -1, -1, labels), masks=torch.rand(objects, *sizes[t]) < 0.5
        )
        for t in range(frames)
    ]
    images = [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in sizes]
    return {"image": images, "instances": instances}


CLIPS = {
    "no_objects": clip(0),
    "no_visible_object": clip(2, visible=lambda i, t: False),
    "one_frame": clip(2, frames=1),
    "one_frame_without_objects": clip(0, frames=1),
    "each_object_in_one_frame": clip(3, visible=lambda i, t: i == t),
    "more_objects_than_queries": clip(QUERIES + 5),
    "more_objects_than_queries_late": clip(QUERIES + 5, visible=lambda i, t: i < 3 or t == 2),
    "frames_change_size": clip(2, sizes=((40, 52), (52, 40))),
}


@pytest.mark.parametrize("name", list(CLIPS))
@pytest.mark.parametrize("step", [0, 9])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("queries", [QUERIES, 1])
def test_training__unusual_clip__finite_losses_and_gradients_for_all(build, name, step, kind, queries):
    """Catches NaN, foreign errors and parameters without gradient, which several processes would wait for."""
    record = CLIPS[name]
    sizes = ["MODEL.MASK_FORMER.NUM_OBJECT_QUERIES", queries, "MODEL.CL_PLUGIN.NUM_NEGATIVES", queries - 1]
    options = [*sizes, "MODEL.CL_PLUGIN.ENABLED", kind == "VideoSegmenter", "INPUT.SAMPLING_FRAME_NUM", len(record["image"])]
    model = build(kind, *options).train()
    if kind != "VideoSegmenter":
        model.begin_step(step)
    for _ in range(2):  # the second time the refiner's contrast remembers the first
        losses = model([record])
        assert "loss_reid" in losses
        assert all(torch.isfinite(loss) for loss in losses.values()), losses
    torch.stack(list(losses.values())).sum().backward()
    learnt = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    assert [n for n, grad in learnt.items() if grad is None] == []
    assert all(torch.isfinite(grad).all() for grad in learnt.values())


@pytest.mark.parametrize("kind", KINDS)
def test_training__without_frames__is_one_clear_error(build, kind):
    """Catches a foreign error about an empty sequence."""
    with pytest.raises(DataError, match="at least one"):
        build(kind).train()([{"image": [], "instances": []}])


def test_online__more_objects_than_queries__each_query_has_one(build):
    """Catches a query that is given to two objects, and a matching that stops at the first surplus."""
    model = build("OnlineVideoSegmenter").train()
    model.begin_step(9)
    matches, matcher = [], model.criterion.matcher
    model.criterion.matcher = lambda *given: matches.append(matcher(*given)) or matches[-1]
    model([CLIPS["more_objects_than_queries_late"]])
    for queries, objects in matches[-1]:
        assert sorted(queries.tolist()) == list(range(QUERIES))
        assert set(range(3)) <= set(objects.tolist())  # those that come first
