"""CTVIS and DVIS++, online and offline, from official configurations and keys, against the reference's outputs."""

import json
import re

import numpy as np
import pytest
import torch

from dense import build_model, load_checkpoint, load_config
from dense.modeling.video import run_windows
from dense.projects.dvis import OfflineVideoSegmenter, OnlineVideoSegmenter, VideoSegmenter
from dense.projects.dvis.segmenting import segment

pytestmark = pytest.mark.golden

THINGS = ["MODEL.MASK_FORMER.TEST.THING_CLASSES", list(range(58))]
SETS = {
    "ytvis19": [],
    "ovis": ["MODEL.SEM_SEG_HEAD.NUM_CLASSES", 25, "MODEL.MASK_FORMER.TEST.MAX_NUM", 20],
    "vipseg": ["MODEL.SEM_SEG_HEAD.NUM_CLASSES", 124, "MODEL.MASK_FORMER.TEST.TASK", "vps", *THINGS],
    "vspw": ["MODEL.SEM_SEG_HEAD.NUM_CLASSES", 124, "MODEL.MASK_FORMER.TEST.TASK", "vss"],
}
FILES = {"ctvis": "CTVIS_R50.yaml", "online": "DVIS_Plus_Online_R50.yaml", "offline": "DVIS_Plus_Offline_R50.yaml"}
KINDS = {"ctvis": VideoSegmenter, "online": OnlineVideoSegmenter, "offline": OfflineVideoSegmenter}
PARTS = {"ctvis": ("tracker.", "refiner."), "online": ("refiner.",), "offline": ()}  # what a stage lacks


@pytest.fixture(scope="module")
def keys(root):
    """Function from a stage to its official keys and shapes."""
    whole = json.loads((root / "tests/golden/manifests/DVIS_Plus_Offline_R50_ytvis19.json").read_text())
    return lambda stage: {key: shape for key, shape in whole.items() if not key.startswith(PARTS[stage] or "-")}


@pytest.fixture(scope="module")
def build(root, parity):
    """Function from a stage and a data set to the model with filled weights."""

    def make(stage, dataset):
        options = ["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", *SETS[dataset]]
        model = build_model(load_config(root / "tests/data/configs" / FILES[stage], options)).eval()
        shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
        load_checkpoint(model, parity.state_dict(shapes), strict=True)
        return model

    return make


@pytest.fixture(scope="module")
def stored(golden, parity):
    return lambda name: parity.Arrays(golden(f"dvis/{name}.npz"))


@pytest.fixture(scope="module")
def shared_stored(shared, parity):
    return lambda name: parity.Arrays(shared / "golden" / "dvis" / f"{name}.npz")


def check_instances(result, arrays):
    """Scores, classes, queries and masks; equal scores may stand in any order."""
    order = np.argsort(-np.array(result["pred_scores"]), kind="stable")
    theirs = np.argsort(-arrays["result.pred_scores"], kind="stable")
    assert tuple(result["image_size"]) == tuple(arrays["result.image_size"])
    assert np.array(result["pred_scores"])[order] == pytest.approx(arrays["result.pred_scores"][theirs], abs=1e-4)
    assert np.array(result["pred_labels"])[order].tolist() == arrays["result.pred_labels"][theirs].tolist()
    if "result.pred_ids" in arrays:
        assert np.array(result["pred_ids"])[order].tolist() == arrays["result.pred_ids"][theirs].tolist()
    masks, expected = torch.stack(result["pred_masks"]).numpy()[order], arrays.packed("result.pred_masks")[theirs]
    assert (masks != expected).sum() <= expected.size / 10_000


def check_maps(result, arrays):
    """Label maps; a few pixels may differ."""
    assert tuple(result["image_size"]) == tuple(arrays["result.image_size"])
    assert result["task"] == str(arrays["result.task"])
    expected = arrays["result.pred_masks"]
    assert (result["pred_masks"].numpy() != expected).sum() <= expected.size / 2_000
    if "result.pred_ids" in arrays:
        ids = [int(re.sub(r"\D", "", str(query))) for query in arrays["result.pred_ids"].tolist()]  # "tensor(18)"
        assert result["pred_ids"] == ids
        assert [str(segment) for segment in result["segments_infos"]] == arrays["result.segments_infos"].tolist()


def video(arrays):
    return [{"image": list(arrays.tensor("frames")), "height": int(arrays["height"]), "width": int(arrays["width"])}]


@pytest.mark.parametrize("stage", list(FILES))
def test_official_stage__state_dict__has_the_official_keys_and_shapes(build, keys, stage):
    """Catches a key or shape that differs, in either direction, and a stage built as another architecture."""
    model = build(stage, "ytvis19")
    assert type(model) is KINDS[stage]
    assert {k: list(v.shape) for k, v in model.state_dict().items()} == keys(stage)


@pytest.mark.parametrize(("stage", "trained"), [("online", "tracker."), ("offline", "refiner.")])
def test_official_stage__trained_parameters__are_those_of_the_last_part(build, stage, trained):
    """Catches parts that learn although they should be frozen, and frozen ones whose batch norms or dropout are in training."""
    model = build(stage, "ytvis19").train()
    learnt = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert learnt == {name for name, _ in model.named_parameters() if name.startswith(trained)}
    training = {name.partition(".")[0] for name, module in model.named_modules() if module.training and name}
    assert training == {trained.rstrip("."), "criterion", "preprocessor"}


def test_ctvis__segmenter_and_video__equal_reference(build, stored):
    """Catches a wrong re-identification head, and an association that does not use it."""
    model, arrays = build("ctvis", "ytvis19"), stored("ctvis_ytvis19")
    for call, frames in ((0, slice(0, 3)), (1, slice(3, 4))):
        with torch.no_grad():
            _, output = segment(model, list(arrays.tensor("frames")[frames]))
        given = {
            "pred_logits": output.final.logits[None],
            "pred_masks": output.final.masks.permute(2, 1, 0, 3, 4),
            "pred_embds": output.embeddings.permute(2, 0, 1)[None],
            "pred_embds_without_norm": output.embeddings_without_norm.permute(2, 0, 1)[None],
            "pred_reid_embed": output.reid.permute(2, 0, 1)[None],
        }
        for name, tensor in given.items():
            assert arrays.distance(f"segmenter.call{call}.{name}", tensor.contiguous()) < 1e-4, name
    (result,) = model(video(arrays))
    check_instances(result, arrays)


def compare_tracked(arrays, call, tracked):
    given = {
        "pred_logits": tracked.final.logits[None],
        "pred_masks": tracked.final.masks.permute(2, 1, 0, 3, 4),
        "pred_embds": tracked.embeddings[0].permute(2, 0, 1)[None],
        "pred_references": tracked.references[0].permute(2, 0, 1)[None],
    }
    compared = [name for name in given if f"tracker.call{call}.{name}" in arrays]
    for name in compared:
        assert arrays.distance(f"tracker.call{call}.{name}", given[name].contiguous()) < 1e-4, f"call {call}: {name}"
    return compared


def recorded(module):
    """Outputs of every later call."""
    calls = []
    module.register_forward_hook(lambda module, given, output: calls.append(output))
    return calls


def check_online(model, arrays, check):
    calls = recorded(model.tracker)
    (result,) = model(video(arrays))
    assert len(calls) == 2  # windows of three and one frames
    assert all(compare_tracked(arrays, i, tracked) for i, (tracked, _) in enumerate(calls))
    check(result, arrays)


@pytest.mark.parametrize(("dataset", "check"), [("ytvis19", check_instances), ("vipseg", check_maps)])
def test_online__video__equals_reference(build, stored, dataset, check):
    """Catches any difference of tracker, windows, mean of logits and post-processing on a whole model."""
    check_online(build("online", dataset), stored(f"online_{dataset}"), check)


@pytest.mark.parametrize(("dataset", "check"), [("ovis", check_instances), ("vspw", check_maps)])
def test_online__more_data_sets__equal_reference(build, shared_stored, dataset, check):
    """As above, on arrays that are not part of the repository."""
    check_online(build("online", dataset), shared_stored(f"online_{dataset}"), check)


def check_offline(model, arrays, check):
    tracker_calls, relate, given = recorded(model.tracker), model.refiner.relate, []
    model.refiner.relate = lambda *parts: given.append((*parts, relate(*parts))) or given[-1][-1]
    judge, parts = model.judge, []
    model.judge = lambda state: parts.extend(clip.mask_features for clip in state.waiting) or judge(state)
    (result,) = model(video(arrays))
    for i, (tracked, _) in enumerate(tracker_calls):
        compare_tracked(arrays, i, tracked)
    ((objects, queries, (normed,)),) = given
    del model.refiner.relate, model.judge
    with torch.no_grad():
        refined = model.refiner(objects, queries, torch.cat(parts)[None])
    assert torch.equal(refined.embeddings, normed)
    assert arrays.distance("refiner.call0.pred_logits", refined.final.logits) < 1e-4
    assert arrays.distance("refiner.call0.pred_masks", refined.final.masks) < 1e-4
    if "refiner.call0.pred_embds" in arrays:
        assert arrays.distance("refiner.call0.pred_embds", refined.embeddings.permute(0, 3, 1, 2).contiguous()) < 1e-4
    check(result, arrays)


@pytest.mark.parametrize(("dataset", "check"), [("ytvis19", check_instances), ("vspw", check_maps)])
def test_offline__video__equals_reference(build, stored, dataset, check):
    """Catches a refiner fed with tracked instead of original queries, projected mask features, scores not fused."""
    check_offline(build("offline", dataset), stored(f"offline_{dataset}"), check)


def test_offline__more_data_sets__equal_reference(build, shared_stored):
    """As above, on arrays that are not part of the repository."""
    check_offline(build("offline", "vipseg"), shared_stored("offline_vipseg"), check_maps)


def test_online__step_by_step__equals_the_result_of_the_video(build, stored):
    """Catches a streaming state that loses the tracker's or the logits' past."""
    model, arrays = build("online", "ytvis19"), stored("online_ytvis19")
    frames = list(arrays.tensor("frames"))
    a, masks_a = run_windows(model, frames, 4)
    b, masks_b = run_windows(model, frames, 1)
    assert torch.allclose(a.logits[-1], b.logits[-1], atol=1e-4)
    assert (masks_a - masks_b).abs().max() < 1e-3 * masks_a.abs().max()
