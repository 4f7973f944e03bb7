"""Hungarian matcher: the reference's costs and assignments, errors that name what is wrong."""

import itertools

import numpy as np
import pytest
import torch

from dense.errors import DataError, NonFiniteError
from dense.modeling.matchers import HungarianMatcher
from dense.modeling.predictions import MaskPrediction, MaskTargets


def build(draw=None, points=48):
    options = {} if draw is None else {"draw": draw}
    return HungarianMatcher(class_weight=2.0, mask_weight=5.0, dice_weight=5.0, num_points=points, **options)


def small(queries=5, classes=3, objects=2):
    torch.manual_seed(objects)
    prediction = MaskPrediction(torch.randn(1, queries, classes + 1), torch.randn(1, queries, 1, 4, 6))
    targets = MaskTargets(torch.arange(objects) % classes, torch.rand(objects, 1, 16, 24) < 0.5)
    return prediction, targets


@pytest.mark.golden
def test_hungarian_matcher__reference_draws__costs_and_pairs_equal_reference(golden, parity):
    """Catches wrong costs or weights; records without objects and with more objects than queries are among them."""
    arrays = parity.Arrays(golden("matcher_criterion.npz"), "image_matcher.")
    prediction = MaskPrediction(arrays.tensor("logits"), arrays.tensor("masks")[:, :, None])
    targets = [MaskTargets(arrays.tensor(f"target{i}.labels"), arrays.tensor(f"target{i}.masks")[:, None]) for i in range(3)]
    costs = build(arrays.draws())
    for i, target in enumerate(targets):
        assert arrays.distance(f"cost{i}", costs.cost(prediction.logits[i], prediction.masks[i], target)) < 1e-5
    draws = arrays.draws()
    for i, (query, obj) in enumerate(build(draws)(prediction, targets)):
        assert torch.stack((query, obj)).tolist() == arrays[f"match{i}"].tolist()
        assert query.dtype == obj.dtype == torch.int64
    assert not draws.left


@pytest.mark.parametrize("objects", [1, 3, 6])
def test_hungarian_matcher__small__is_the_cheapest_of_all_assignments(objects):
    """Catches a solver fed the wrong way round: every assignment is tried."""
    prediction, targets = small(queries=4, objects=objects)
    points = torch.rand(1, 48, 2)
    matcher = build(lambda shape, device: points)
    cost = matcher.cost(prediction.logits[0], prediction.masks[0], targets).numpy()
    ((query, obj),) = matcher(prediction, [targets])
    assert len(query) == min(4, objects)
    assert query.tolist() == sorted(query.tolist())
    total = cost[query, obj].sum()
    wide = cost if cost.shape[0] <= cost.shape[1] else cost.T
    ways = (
        sum(wide[i, j] for i, j in enumerate(columns))
        for columns in itertools.permutations(range(wide.shape[1]), wide.shape[0])
    )
    assert total == pytest.approx(min(ways), rel=1e-5)


def test_hungarian_matcher__outputs_not_finite__raise():
    """Catches NaN hidden from the solver; case match-nan-cost: one query's outputs are NaN."""
    prediction, targets = small(queries=4, objects=3)
    for value in (torch.nan, torch.inf):
        logits = prediction.logits.clone()
        logits[0, 2] = value
        with pytest.raises(NonFiniteError, match=r"record 0 .* not finite"):
            build()(MaskPrediction(logits, prediction.masks), [targets])
    masks = prediction.masks.clone()
    masks[0, 1] = torch.nan
    with pytest.raises(NonFiniteError, match="not finite"):
        build()(MaskPrediction(prediction.logits, masks), [targets])


@pytest.mark.parametrize("label", [-1, 3, 99])
def test_hungarian_matcher__label_out_of_range__raises(label):
    """Catches a label that indexes the no-object column or the last class from behind."""
    prediction, targets = small(classes=3)
    with pytest.raises(DataError, match=rf"labels: \[{label}, 0\], expected 0 to 2"):
        build()(prediction, [MaskTargets(torch.tensor([label, 0]), targets.masks)])


def test_hungarian_matcher__no_objects__returns_empty():
    """Catches a crash on a picture without objects; case match-no-objects."""
    prediction, targets = small(queries=3, objects=0)
    ((query, obj),) = build()(prediction, [targets])
    assert (len(query), len(obj)) == (0, 0)
    assert build().cost(prediction.logits[0], prediction.masks[0], targets).shape == (3, 0)


def test_hungarian_matcher__frames__count_as_one_mask():
    """Catches frames of a clip matched on their own: an object that fits in one frame only must not win."""
    masks = torch.full((1, 2, 2, 4, 4), -9.0)
    masks[0, 0] = 9.0  # query 0 fits both frames, query 1 the second one only
    masks[0, 1, 1] = 9.0
    prediction = MaskPrediction(torch.zeros(1, 2, 3), masks)
    full = MaskTargets(torch.tensor([0]), torch.ones(1, 2, 8, 8, dtype=torch.bool))
    late = MaskTargets(torch.tensor([0]), torch.stack((torch.zeros(1, 8, 8), torch.ones(1, 8, 8)), 1).bool())
    assert build()(prediction, [full])[0][0].tolist() == [0]
    assert build()(prediction, [late])[0][0].tolist() == [1]
    assert np.isfinite(build().cost(prediction.logits[0], prediction.masks[0], late).numpy()).all()
