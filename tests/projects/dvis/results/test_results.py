"""Results of the three tasks against the reference, on given logits."""

import numpy as np
import pytest
import torch

from dense import load_config
from dense.errors import ConfigError
from dense.modeling.video import fused_probabilities
from dense.projects.dvis.results import (
    InstanceResults,
    PanopticResults,
    SemanticResults,
    VideoEvidence,
    results_from_config,
)

CASES = ["mixed", "none_kept", "kept_but_empty", "first_frame_only", "random", "open_vocabulary_threshold"]
BOTH = [(case, "online") for case in CASES] + [(case, "offline") for case in ("mixed", "random")]


@pytest.fixture(params=BOTH, ids="-".join)
def case(request, golden, parity):
    """Evidence, settings and the stored results of one case."""
    name, kind = request.param
    whole = parity.Arrays(golden("video_post.npz"))
    given = parity.Arrays(golden("video_post.npz"), f"{name}.")
    auxiliary = given.tensor("aux_logits") if kind == "offline" else None
    sizes = [tuple(whole[size].tolist()) for size in ("padded", "unpadded", "size")]
    evidence = VideoEvidence(fused_probabilities(given.tensor("logits"), auxiliary), given.tensor("masks"), *sizes)
    return evidence, given["settings"].tolist(), parity.Arrays(golden("video_post.npz"), f"{name}.{kind}."), whole["classes"][1]


@pytest.mark.golden
def test_instances__reference__equal(case):
    """Catches the no-object column among the scores, fused scores after the choice, masks thresholded at another size."""
    evidence, settings, stored, _ = case
    result = InstanceResults(max_objects=int(settings[2]))(evidence)
    order = np.lexsort((result["pred_labels"], result["pred_ids"], -np.array(result["pred_scores"])))
    scores = np.array(result["pred_scores"])[order]
    assert scores == pytest.approx(stored["vis.scores"], abs=1e-6)
    ours = {(q, k): m for q, k, m in zip(result["pred_ids"], result["pred_labels"], result["pred_masks"], strict=True)}
    masks = stored.packed("vis.masks")
    theirs = {(int(q), int(k)): m for q, k, m in zip(stored["vis.ids"], stored["vis.labels"], masks, strict=True)}
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[key].numpy(), theirs[key]) for key in theirs)


@pytest.mark.golden
def test_panoptic__reference__equal(case):
    """Catches areas counted per frame, stuff not merged, sigmoid after both resizings, ids of queries shifted."""
    evidence, settings, stored, things = case
    results = PanopticResults(
        things=frozenset(range(int(things))), object_threshold=settings[0], overlap_threshold=settings[1]
    )(evidence)
    assert np.array_equal(results["pred_masks"].numpy(), stored["vps.masks"])
    rows = [[s["id"], int(s["isthing"]), s["category_id"]] for s in results["segments_infos"]]
    assert rows == stored["vps.segments"].tolist()
    assert results["pred_ids"] == stored["vps.ids"].tolist()


@pytest.mark.golden
def test_semantic__reference__equal(case):
    """Catches the no-object class among the candidates and masks resized as logits."""
    evidence, _, stored, _ = case
    result = SemanticResults()(evidence)
    assert np.array_equal(result["pred_masks"].numpy(), stored["vss.masks"])
    assert result["pred_masks"].dtype == torch.int32


def test_fused_probabilities__auxiliary__no_object_stays():
    """Catches the no-object column taken from the greater of both."""
    torch.manual_seed(0)
    a, b = torch.randn(5, 4), torch.randn(5, 4)
    fused = fused_probabilities(a, b)
    assert torch.equal(fused[:, -1], a.softmax(-1)[:, -1])
    assert torch.equal(fused[:, :-1], torch.maximum(a.softmax(-1), b.softmax(-1))[:, :-1])


@pytest.mark.parametrize(("task", "kind"), [("vis", InstanceResults), ("vss", SemanticResults), ("vps", PanopticResults)])
def test_results_from_config__task__names_the_part(task, kind):
    """Catches tasks mixed up, and thresholds or numbers that are not read."""
    options = {"TASK": task, "MAX_NUM": 7, "OBJECT_MASK_THRESHOLD": 0.7, "OVERLAP_THRESHOLD": 0.6, "THING_CLASSES": [0, 2]}
    cfg = load_config(None, [x for k, v in options.items() for x in (f"MODEL.MASK_FORMER.TEST.{k}", v)])
    results = results_from_config(cfg)
    assert type(results) is kind
    expected = {
        InstanceResults: {"max_objects": 7},
        SemanticResults: {},
        PanopticResults: {"things": frozenset({0, 2}), "object_threshold": 0.7, "overlap_threshold": 0.6},
    }
    assert vars(results) == expected[kind]


def test_results_from_config__unknown_task__suggests_the_nearest():
    """Catches a task that is silently taken for another."""
    with pytest.raises(ConfigError, match="TASK"):
        results_from_config(load_config(None, ["MODEL.MASK_FORMER.TEST.TASK", "vos"]))
