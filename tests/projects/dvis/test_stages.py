"""Online and offline models with small random weights: stages, halves of the training, streaming, predictors, errors."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dense import VideoPredictor, load_checkpoint
from dense.errors import ConfigError, DataError, NonFiniteError
from dense.modeling.video import FollowsTraining, StreamingModel, run_windows

KINDS = ["OnlineVideoSegmenter", "OfflineVideoSegmenter"]


def frames(count=5, height=40, width=52, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8) for _ in range(count)]


def record(ids=((4, 4, 4), (-1, 6, 6)), labels=(1, 2)):
    ids, labels = torch.tensor(ids), torch.tensor(labels)
    torch.manual_seed(2)
    instances = [
        SimpleNamespace(
            labels=torch.where(ids[:, t] == -1, -1, labels), ids=ids[:, t], masks=torch.rand(len(ids), 40, 52) < 0.5
        )
        for t in range(ids.shape[1])
    ]
    return {"image": frames(ids.shape[1]), "instances": instances}


@pytest.mark.parametrize("kind", KINDS)
def test_stage__training_step__only_its_part_changes(build, kind):
    """Catches gradients into frozen parts, batch norms that move, and parameters that get no gradient."""
    model = build(kind).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    learnt = [p for p in model.parameters() if p.requires_grad]
    total = sum(model([record()]).values())
    total.backward()
    assert all(p.grad is not None for p in learnt)
    torch.optim.SGD(learnt, lr=0.1).step()
    changed = {name.partition(".")[0] for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"tracker" if kind == "OnlineVideoSegmenter" else "refiner"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("step", "guided"), [(0, True), (4, True), (5, False), (9, False)])
def test_stage__half_of_the_training__says_what_is_matched(build, kind, step, guided):
    """Catches a half counted from the start of the process, and guides that are matched for every layer again."""
    model, calls = build(kind).train(), []
    matcher = model.criterion.matcher
    model.criterion.matcher = lambda prediction, targets: calls.append(prediction) or matcher(prediction, targets)
    model.begin_step(step)
    model([record()])
    assert len(calls) == (1 if guided else 2)  # one guide, or each of the two layers
    assert calls[0].logits.requires_grad != guided


@pytest.mark.parametrize("kind", KINDS)
def test_stage__no_object__finite_losses_with_gradients(build, kind):
    """Catches NaN or missing gradients for a clip without objects."""
    model = build(kind).train()
    losses = model([record(((-1, -1, -1),), (1,))])
    assert all(torch.isfinite(loss) for loss in losses.values())
    sum(losses.values()).backward()
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


def small_record():
    """A clip of one object, smaller than ``record``'s."""
    torch.manual_seed(3)
    masks = [torch.rand(1, 30, 40) < 0.5 for _ in range(3)]
    instances = [SimpleNamespace(labels=torch.tensor([1]), ids=torch.tensor([2]), masks=mask) for mask in masks]
    return {"image": frames(3, 30, 40, seed=5), "instances": instances}


@pytest.mark.parametrize("kind", KINDS)
def test_stage__two_clips_in_a_process__each_is_tracked_as_if_alone(build, kind):
    """Catches two videos tracked as one, and a clip whose result depends on its neighbour's size."""
    model, seen = build(kind).train(), []
    part = "tracker" if kind == "OnlineVideoSegmenter" else "refiner"
    getattr(model, part).register_forward_hook(lambda _, __, output: seen.append(output[0] if part == "tracker" else output))
    clips = [record(), small_record()]
    for batch in (clips, clips[:1], clips[1:]):
        model(batch)
    both, *alone = seen
    for i, single in enumerate(alone):
        size = single.final.masks.shape[-2:]
        count = len(single.final.logits)
        together = both.final.masks[i * count : (i + 1) * count, ..., : size[0], : size[1]]
        assert torch.allclose(both.final.logits[i * count : (i + 1) * count], single.final.logits, atol=1e-4)
        assert torch.allclose(together, single.final.masks, atol=1e-4)


def test_online__two_clips__contrast_is_the_mean_of_theirs(build):
    """Catches items of one clip compared with the other's, and a sum in place of the mean."""
    model = build("OnlineVideoSegmenter").train()
    clips = [record(), record(((3, 3, 3), (5, 5, 5)), (2, 2))]
    model.criterion.matcher = SameSlots()
    together = model(clips)
    alone = [model([clip]) for clip in clips]
    for name in ("loss_reid",):
        assert together[name].item() == pytest.approx((alone[0][name] + alone[1][name]).item() / 2, rel=1e-4)


class SameSlots:
    """Object n has query n."""

    def __call__(self, prediction, targets):
        return [(torch.arange(len(target.labels)), torch.arange(len(target.labels))) for target in targets]


@pytest.mark.parametrize("kind", KINDS)
def test_stage__clips_of_different_length__are_an_error(build, kind):
    """Catches a foreign error about stacking."""
    with pytest.raises(DataError, match="same number"):
        build(kind).train()([record(), record(((4, 4),), (1,))])


@pytest.mark.parametrize(("tracker", "refiner", "weighed"), [(True, True, True), (True, False, False), (False, True, False)])
def test_online__contrast__is_on_if_both_keys_are(build, tracker, refiner, weighed):
    """Catches a contrastive loss that follows one of the two official keys alone."""
    model = build("OnlineVideoSegmenter", "MODEL.TRACKER.USE_CL", tracker, "MODEL.REFINER.USE_CL", refiner).train()
    assert ("loss_reid" in model([record()])) == weighed


@pytest.mark.parametrize("use", [True, False])
def test_offline__contrast__follows_its_key_and_remembers(build, use):
    """Catches a memory that is filled although nothing uses it, or that stays empty."""
    model = build("OfflineVideoSegmenter", "MODEL.REFINER.USE_CL", use).train()
    assert ("loss_reid" in model([record()])) == use
    if use:
        assert sorted(model.contrast.memory.stored) == [1, 2]
    else:
        assert model.contrast is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reid", [True, False])
def test_stage__with_and_without_head__gives_a_result(build, kind, reid):
    """Catches widths of tracker and refiner that do not follow REID_BRANCH."""
    model = build(kind, reid=reid).eval()
    (result,) = model([{"image": frames(), "height": 80, "width": 104}])
    assert len(result["pred_scores"]) == 10
    assert result["pred_masks"][0].shape == (5, 80, 104)
    assert not any(parameter.grad_fn for parameter in result["pred_masks"])


def test_stage__branch_without_head__is_an_error(build):
    """Catches a foreign error about shapes when decoder and REID_BRANCH do not agree."""
    model = build("OnlineVideoSegmenter", "MODEL.MASK_FORMER.TRANSFORMER_DECODER_NAME", "MaskedDecoder").eval()
    with pytest.raises(ConfigError, match="REID_BRANCH"):
        model([{"image": frames(1)}])


@pytest.mark.parametrize("kind", KINDS)
def test_stage__window__changes_nothing(build, kind):
    """Catches windows of the segmenter that show in the result."""
    clip = {"image": frames(5)}
    results = []
    for options in (["WINDOW_SIZE", 2], ["WINDOW_INFERENCE", False]):
        model = build(kind, f"MODEL.MASK_FORMER.TEST.{options[0]}", options[1]).eval()
        results += model([clip])
    a, b = results
    assert a["pred_ids"] == b["pred_ids"]
    assert a["pred_scores"] == pytest.approx(b["pred_scores"], abs=1e-5)
    assert (torch.stack(a["pred_masks"]) != torch.stack(b["pred_masks"])).float().mean() < 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_stage__steps__carry_the_state_and_start_again(build, kind):
    """Catches a state kept in the module: the first video again gives the first result, and a given state is not changed."""
    model = build(kind).eval()
    clip, other = frames(4), frames(4, seed=9)
    first, state = model.step(clip[:2], model.start())
    second, after = model.step(clip[2:], state)
    model.step(other, model.start())
    again, state_again = model.step(clip[:2], model.start())
    assert torch.equal(first.masks, again.masks)
    assert (state.frames, after.frames, state_again.frames) == (2, 4, 2)
    repeated, _ = model.step(clip[2:], state)
    assert torch.equal(second.masks, repeated.masks)
    assert torch.equal(second.probabilities(-1), repeated.probabilities(-1))


def test_offline__window__refines_some_frames_at_a_time(build):
    """Catches a limit that is not read; with one as long as the video nothing changes."""
    clip = frames(4)
    whole, masks = run_windows(build("OfflineVideoSegmenter").eval(), clip, 4)
    limited = build("OfflineVideoSegmenter", "MODEL.REFINER.WINDOW", 4).eval()
    assert limited.window == 4
    window, same = run_windows(limited, clip, limited.window)
    assert torch.equal(masks, same)
    assert torch.equal(whole.probabilities(-1), window.probabilities(-1))
    _, parts = run_windows(limited, clip, 2)
    assert not torch.allclose(masks, parts)


@pytest.mark.parametrize("kind", KINDS)
def test_stage__video_predictor__gives_the_models_own_result(build, kind):
    """Catches a predictor that leaves out the auxiliary evidence, or a model that is no streaming model."""
    model = build(kind).eval()
    assert isinstance(model, StreamingModel)
    assert isinstance(model, FollowsTraining)
    pictures = [frame.permute(1, 2, 0).numpy() for frame in frames(5)]
    result = VideoPredictor(model, min_size=0, max_objects=10).predict([np.ascontiguousarray(p) for p in pictures])
    (expected,) = model([{"image": frames(5)}])
    assert [track.track_id for track in result.tracks] == expected["pred_ids"]
    assert [track.score for track in result.tracks] == pytest.approx(expected["pred_scores"], abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_stage__without_frames__is_an_error(build, kind):
    """Catches a foreign error for an empty video."""
    with pytest.raises(DataError, match="no frame"):
        build(kind).eval()([{"image": []}])


@pytest.mark.parametrize("kind", KINDS)
def test_stage__outputs_not_finite__are_an_error(build, kind):
    """Catches results made of NaN."""
    model = build(kind).eval()
    model.tracker.class_embed.weight.data[0, 0] = torch.nan
    with pytest.raises(NonFiniteError, match="frames 0 to"):
        model([{"image": frames(2)}])


@pytest.mark.parametrize(("task", "dtype"), [("vps", torch.int32), ("vss", torch.int32)])
@pytest.mark.parametrize("kind", [*KINDS, "VideoSegmenter"])
def test_stage__other_tasks__one_map_per_frame(build, kind, task, dtype):
    """Catches a task that only some of the models know."""
    things = ["MODEL.MASK_FORMER.TEST.THING_CLASSES", [0, 1, 2]]
    model = build(kind, "MODEL.MASK_FORMER.TEST.TASK", task, *things).eval()
    (result,) = model([{"image": frames(2), "height": 60, "width": 78}])
    assert result["task"] == task
    assert result["pred_masks"].shape == (2, 60, 78)
    assert result["pred_masks"].dtype == dtype


def test_stages__weights_of_the_stage_before__load_and_leave_the_new_part(build):
    """Catches stages whose names do not fit: segmenter into online, online into offline."""
    segmenter = build("VideoSegmenter", "MODEL.CL_PLUGIN.ENABLED", True)
    online, offline = build("OnlineVideoSegmenter"), build("OfflineVideoSegmenter")
    report = load_checkpoint(online, segmenter.state_dict())
    assert not report.unused
    assert {name.partition(".")[0] for name in report.missing} == {"tracker"}
    report = load_checkpoint(offline, online.state_dict())
    assert not report.unused
    assert {name.partition(".")[0] for name in report.missing} == {"refiner"}


def test_segmenter__contrast__adds_two_losses_and_follows_the_head(build):
    """Catches contrastive training that the configuration cannot switch, and an association on the wrong embeddings."""
    model = build("VideoSegmenter", "MODEL.CL_PLUGIN.ENABLED", True).train()
    losses = model([record(), record()])
    assert {"loss_reid", "loss_aux_reid"} <= set(losses)
    sum(losses.values()).backward()
    assert model.sem_seg_head.predictor.reid_embed.layers[0].weight.grad.abs().sum() > 0
    assert "loss_reid" not in build("VideoSegmenter").train()([record()])
    _, state = model.eval().step(frames(2), model.start())
    assert state.memory.reference.shape == (16, 32)  # of the head alone, not joined


@pytest.mark.parametrize("kind", KINDS)
def test_stage__long_clip_whose_frames_change_size__is_padded_as_one(build, kind):
    """Catches parts of a long clip that are padded each to its own size."""
    model = build(kind, "INPUT.SAMPLING_FRAME_NUM", 23).train()
    clip = record(((4,) * 23,), (1,))
    clip["image"][22] = frames(1, 44, 40)[0]
    clip["instances"][22].masks = torch.ones(1, 44, 40, dtype=torch.bool)
    assert all(torch.isfinite(loss) for loss in model([clip]).values())
