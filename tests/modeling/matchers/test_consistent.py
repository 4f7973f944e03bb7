"""Consistent matcher against the reference: matches, costs, losses; late objects, surplus, errors."""

import numpy as np
import pytest
import torch

from dense import load_config
from dense.errors import DataError
from dense.modeling.losses import SetCriterion
from dense.modeling.matchers import ConsistentMatcher, HungarianMatcher
from dense.modeling.predictions import MaskPrediction, MaskTargets


def targets_of(arrays, count):
    return [
        MaskTargets(*(arrays.tensor(f"target{i}.{name}") for name in ("labels", "masks")), arrays.tensor(f"target{i}.ids"))
        for i in range(count)
    ]


def matcher(draw, frames, points=48):
    costs = HungarianMatcher(class_weight=2.0, mask_weight=5.0, dice_weight=5.0, num_points=points, draw=draw)
    return ConsistentMatcher(costs=costs, frames=frames)


@pytest.mark.golden
@pytest.mark.parametrize("case", ["consistent", "consistent_guided"])
def test_consistent_matcher__two_clips__matches_losses_and_gradients_equal_reference(golden, parity, case):
    """Catches used queries that are given away again, points shared between frames, guides that are matched per layer, and
    returned matches that are not the last ones made."""
    arrays = parity.Arrays(golden("matcher_criterion.npz"), f"{case}.")
    logits, masks = arrays.tensor("logits").requires_grad_(), arrays.tensor("masks").requires_grad_()
    draws = arrays.draws()
    recorder = parity.Recorder(matcher(draws, int(arrays["frames"])))
    criterion = SetCriterion(
        num_classes=5,
        matcher=recorder,
        weights={"loss_ce": 2.0, "loss_mask": 5.0, "loss_dice": 5.0},
        no_object_weight=0.1,
        num_points=48,
        oversample=3.0,
        importance=0.75,
        draw=draws,
    )
    guide = MaskPrediction(arrays.tensor("guide_logits"), arrays.tensor("guide_masks")) if "guide_logits" in arrays else None
    predictions = [MaskPrediction(a, b) for a, b in zip(logits, masks, strict=True)]
    losses, last = criterion.matched(predictions, targets_of(arrays, 8), guide)
    assert not draws.left
    assert len(recorder.calls) == (3 if guide is None else 1)
    for i, pair in enumerate(last):
        assert torch.stack(pair).tolist() == arrays[f"returned.match{i}"].tolist()
    parity.check_criterion(arrays, criterion, losses).backward()
    assert arrays.distance("grad_logits", logits.grad) < 1e-5
    assert arrays.distance("grad_masks", masks.grad) < 1e-5


@pytest.mark.golden
def test_consistent_matcher__more_late_objects_than_free_queries__no_query_twice(golden, parity):
    """Catches a query given to two objects; apart from that the reference's matches hold."""
    arrays = parity.Arrays(golden("matcher_criterion.npz"), "consistent_surplus.")
    prediction = MaskPrediction(arrays.tensor("logits"), arrays.tensor("masks"))
    matches = matcher(arrays.draws(), int(arrays["frames"]))(prediction, targets_of(arrays, 2))
    theirs = arrays["match0"]
    for queries, objects in matches:
        assert len(set(queries.tolist())) == len(queries) == 3
        assert [queries.tolist(), objects.tolist()] == theirs[:, :3].tolist()
    assert len(np.unique(theirs[0])) < theirs.shape[1]  # the reference repeats one


def clip(ids):
    ids = torch.tensor(ids)
    masks = torch.rand(len(ids), ids.shape[1], 16, 24) > 0.5
    whole = MaskTargets(torch.zeros(len(ids), dtype=torch.int64), masks, ids)
    return [whole.frame(t) for t in range(ids.shape[1])]


def uniform(shape, device):
    return torch.rand(shape)


def test_consistent_matcher__object_comes_late__keeps_clear_of_used_queries():
    """Catches a late object that takes the query of an early one although that fits it best."""
    targets = clip([[1, 1], [-1, 2]])
    masks = torch.full((2, 3, 1, 16, 24), -9.0)
    for t, target in enumerate(targets):
        masks[t, 1, 0] = torch.where(target.masks[t, 0], 9.0, -9.0)  # query 1: the first object, then the second
    queries, objects = matcher(uniform, 2)(MaskPrediction(torch.zeros(2, 3, 4), masks), targets)[0]
    assert objects.tolist() == [0, 1]
    assert queries[0] == 1
    assert queries[1] != 1


def test_consistent_matcher__never_visible__is_left_out():
    """Catches an object matched in frame 0 because argmax of nothing is 0."""
    queries, objects = matcher(uniform, 2)(
        MaskPrediction(torch.zeros(2, 3, 4), torch.zeros(2, 3, 1, 16, 24)), clip([[-1, -1], [3, 3]])
    )[1]
    assert objects.tolist() == [1]
    assert len(queries) == 1


def test_consistent_matcher__no_object__empty_matches_of_whole_numbers():
    """Catches empty indices that are floating point."""
    empty = [target.keep(torch.zeros(0, dtype=torch.int64)) for target in clip([[0, 0]])]
    matches = matcher(uniform, 2)(MaskPrediction(torch.zeros(2, 3, 4), torch.zeros(2, 3, 1, 16, 24)), empty)
    assert [(len(q), q.dtype) for q, _ in matches] == [(0, torch.int64)] * 2


def test_consistent_matcher__batch_is_no_multiple_of_the_clip__is_an_error():
    """Catches frames of two videos matched as one clip."""
    with pytest.raises(DataError, match="SAMPLING_FRAME_NUM"):
        matcher(uniform, 2)(MaskPrediction(torch.zeros(3, 3, 4), torch.zeros(3, 3, 1, 16, 24)), clip([[1, 1, 1]]))


def test_consistent_matcher__config__reads_frames_and_weights():
    """Catches a clip length or weights that are not those of the configuration."""
    cfg = load_config(None, ["INPUT.SAMPLING_FRAME_NUM", "5", "MODEL.MASK_FORMER.MASK_WEIGHT", "7.0"])
    built = ConsistentMatcher(cfg)
    assert built.frames == 5
    assert built.costs.mask_weight == 7
