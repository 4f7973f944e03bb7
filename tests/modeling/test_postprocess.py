"""Post-processing of images against the reference's results and hand-made cases."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dense.modeling.postprocess import instance_result, panoptic_result, resize_masks, semantic_result, top_pairs

CASES = ["mixed", "none_kept", "all_void", "kept_but_empty", "threshold_edge", "ties", "stuff_only", "pipeline"]
THINGS = {0, 1, 2, 3}
DATA = Path(__file__).resolve().parents[1] / "data" / "cases"


@pytest.fixture(params=CASES)
def case(request, golden, parity):
    """Arrays of one case, its logits, and its mask logits at the output size."""
    arrays = parity.Arrays(golden("mask2former.npz"), f"pp.{request.param}.")
    masks = arrays.tensor("masks")
    if "padded" in arrays:
        sizes = [tuple(arrays[name].tolist()) for name in ("padded", "unpadded", "size")]
        masks = resize_masks(masks, *sizes)
        assert arrays.distance("resized_masks", masks) < 1e-5
    return arrays, arrays.tensor("logits"), masks


@pytest.mark.golden
def test_semantic_result__reference__equal(case):
    """Catches the no-object column in the scores and logits that are not turned into probabilities."""
    arrays, logits, masks = case
    assert arrays.distance("semantic", semantic_result(logits, masks)) < 1e-5


@pytest.mark.golden
def test_panoptic_result__reference__equal(case):
    """Catches ``>=`` at the object threshold, areas counted otherwise, stuff not merged, ids with gaps."""
    arrays, logits, masks = case
    keep, overlap, _ = arrays["settings"]
    segment_map, segments = panoptic_result(logits, masks, THINGS, object_threshold=keep, overlap_threshold=overlap)
    assert np.array_equal(segment_map.numpy(), arrays["panoptic"])
    assert [[s.id, int(s.isthing), s.category_id] for s in segments] == arrays["segments"].tolist()


@pytest.mark.golden
@pytest.mark.parametrize("things", [None, THINGS])
def test_instance_result__reference__equal(case, things):
    """Catches pairs chosen after instead of before the thing filter, and scores without the mask's quality."""
    arrays, logits, masks = case
    prefix = "instance" if things is None else "instance_things_only"
    result = instance_result(logits, masks, int(arrays["settings"][2]), things)

    def rows(scores, classes, stack):
        """Sortable rows; ties may stand in any order."""
        return sorted(
            (round(float(s), 5), int(c), m.tobytes())
            for s, c, m in zip(scores, classes, np.ascontiguousarray(stack), strict=True)
        )

    ours = rows(result.scores.numpy(), result.labels.numpy(), result.masks.numpy())
    theirs = rows(arrays[f"{prefix}.scores"], arrays[f"{prefix}.classes"], arrays[f"{prefix}.masks"])
    assert [row[0] for row in ours] == pytest.approx([row[0] for row in theirs], abs=2e-5)
    assert sorted(row[1:] for row in ours if row[0] > 0) == sorted(row[1:] for row in theirs if row[0] > 0)
    if things is not None:
        assert set(result.labels.tolist()) <= things


def test_instance_result__resize__each_kept_query_once_and_as_if_all_were_resized():
    """Catches full-size copies for every (query, class) pair, and a mask or quality given to another query."""
    logits = torch.tensor([[3.0, 3.1, 0.0], [-9.0, -9.0, 9.0], [1.0, -2.0, 0.0], [-2.0, 1.5, 0.0]])
    masks = torch.randn(4, 5, 6)
    sizes = (20, 24), (17, 23), (31, 44)
    taken = []

    def resize(part):
        taken.append(len(part))
        return resize_masks(part, *sizes)

    result = instance_result(logits, masks, 4, None, resize)
    whole = resize_masks(masks, *sizes)
    scores = logits.softmax(-1)[:, :-1]
    expected = [(0, 1), (3, 1), (2, 0), (0, 0)]  # (query, class) by class score; query 0 twice
    expected.sort(key=lambda pair: -float(scores[pair]))
    assert result.labels.tolist() == [k for _, k in expected]
    for i, (q, k) in enumerate(expected):
        assert torch.equal(result.masks[i], whole[q] > 0)
        mean = whole[q][whole[q] > 0].sigmoid().mean()
        assert float(result.scores[i]) == pytest.approx(float(scores[q, k] * mean), rel=1e-5)
    assert sorted(taken) == [0, 1, 1, 1]  # the size, then queries 0, 2 and 3
    nothing = instance_result(logits, masks, 4, set(), resize)
    assert nothing.masks.shape == (0, 31, 44)


@pytest.mark.parametrize("name", ["post-stuff-merge", "post-all-no-object"])
def test_panoptic_result__hard_cases__equal_hand_made_maps(name):
    """Catches segment ids after merged stuff, id 0 for a segment, and an exception when nothing is kept."""
    arrays = np.load(DATA / name / "case.npz")
    logits, masks = (torch.from_numpy(arrays[k]) for k in ("mask_cls", "mask_pred"))
    segment_map, segments = panoptic_result(logits, masks, {0, 1}, object_threshold=0.8, overlap_threshold=0.8)
    assert np.array_equal(segment_map.numpy(), arrays["expected"])
    expected = [(1, False, 2), (2, True, 0), (3, True, 0)] if name == "post-stuff-merge" else []
    assert [(s.id, s.isthing, s.category_id) for s in segments] == expected


def test_resize_masks__frames__equal_frame_by_frame():
    """Catches frames taken for queries, and a crop before the first resize."""
    masks = torch.randn(3, 2, 4, 6)
    together = resize_masks(masks, (16, 24), (13, 20), (26, 31))
    assert together.shape == (3, 2, 26, 31)
    for t in range(2):
        assert torch.equal(together[:, t], resize_masks(masks[:, t], (16, 24), (13, 20), (26, 31)))


def test_resize_masks__padding__does_not_reach_the_result_beyond_one_cell():
    """Catches padding resized into the picture: only the cell at the border may feel it."""
    masks = torch.zeros(1, 4, 8)
    changed = masks.clone()
    changed[..., 5:] = 100.0
    plain = resize_masks(masks, (16, 32), (16, 16), (16, 16))
    assert torch.equal(plain, resize_masks(changed, (16, 32), (16, 16), (16, 16)))


def test_top_pairs__more_wanted_than_there_are__returns_all():
    """Catches a crash of topk with few queries."""
    scores, queries, labels = top_pairs(torch.tensor([[0.1, 0.5], [0.4, 0.2]]), 10)
    assert list(zip(queries.tolist(), labels.tolist(), strict=True)) == [(0, 1), (1, 0), (1, 1), (0, 0)]
    assert scores.tolist() == pytest.approx([0.5, 0.4, 0.2, 0.1])


def test_results__no_queries__are_empty():
    """Catches a crash on empty tensors (a model with every query pruned, or a filter that leaves nothing)."""
    logits, masks = torch.zeros(0, 4), torch.zeros(0, 5, 6)
    assert semantic_result(logits, masks).abs().sum() == 0
    assert len(instance_result(logits, masks, 3).scores) == 0
    segment_map, segments = panoptic_result(logits, masks, {0}, object_threshold=0.5, overlap_threshold=0.5)
    assert segments == []
    assert segment_map.shape == (5, 6)
