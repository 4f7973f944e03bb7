"""Targets: frames and selections keep labels, masks and ids together."""

import pytest
import torch

from dense.modeling.predictions import FactoredPrediction, MaskPrediction, MaskTargets


def targets():
    masks = torch.zeros(3, 2, 4, 5, dtype=torch.bool)
    masks[0, 1], masks[2, 0] = True, True
    return MaskTargets(torch.tensor([4, 5, 6]), masks, torch.tensor([[-1, 7], [8, 8], [9, -1]]))


def test_mask_targets__frame__keeps_every_object():
    """Catches objects dropped where they are absent: they must stay, with an empty mask and their label."""
    late = targets().frame(1)
    assert late.labels.tolist() == [4, 5, 6]
    assert late.masks.shape == (3, 1, 4, 5)
    assert late.masks.flatten(1).any(1).tolist() == [True, False, False]
    assert late.ids.tolist() == [[7], [8], [-1]]


def test_mask_targets__keep__selects_all_fields():
    """Catches ids or masks left behind."""
    kept = targets().keep(torch.tensor([False, True, True]))
    assert kept.labels.tolist() == [5, 6]
    assert kept.ids.tolist() == [[8, 8], [9, -1]]
    assert kept.masks.flatten(1).any(1).tolist() == [False, True]
    assert MaskTargets(targets().labels, targets().masks).keep(torch.tensor([2])).labels.tolist() == [6]


def test_mask_prediction__detach__has_no_graph():
    """Catches a half-detached prediction."""
    prediction = MaskPrediction(torch.zeros(1, requires_grad=True) + 1, torch.zeros(1, requires_grad=True) + 1).detach()
    assert not prediction.logits.requires_grad
    assert not prediction.masks.requires_grad


@pytest.mark.parametrize("counts", [[2, 0, 3], [0, 0, 0], [1, 1, 1]])
def test_factored_prediction__any_choice__equals_the_whole(counts):
    """Catches a query of another frame, a lost bias, or frames without objects."""
    torch.manual_seed(0)
    factored = FactoredPrediction(torch.randn(3, 5, 4), torch.randn(3, 5, 6), torch.randn(3, 5), torch.randn(3, 6, 7, 8))
    whole = MaskPrediction(factored.logits, factored.masks)
    record = torch.repeat_interleave(torch.arange(3), torch.tensor(counts))
    query = torch.randint(0, 5, (len(record),))
    assert whole.masks.shape == (3, 5, 1, 7, 8)
    assert torch.allclose(factored.chosen_masks(record, query), whole.chosen_masks(record, query), atol=1e-5)
    assert torch.allclose(factored.record_masks(1), whole.record_masks(1), atol=1e-5)
