"""Proposals from the head's maps."""

import pytest
import torch

from dense.projects.dito.proposals import ProposalRules, predictions_of, propose


def golden_predictions(reference):
    logits, distances = reference.pyramid("eval.rpn.logit"), reference.pyramid("eval.rpn.lrtb")
    return predictions_of(logits, distances, (128, 128), 8.0)


def assert_same_boxes(found: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    """As sets: every box has its partner, both ways."""
    distance = (found[:, None] - expected[None]).abs().amax(dim=-1)
    assert distance.min(dim=0).values.max() < tolerance
    assert distance.min(dim=1).values.max() < tolerance


@pytest.mark.golden
def test_predictions_of__reference__decoded_boxes_are_equal(reference):
    """Catches maps flattened column by column, and boxes that are not clipped."""
    expected = torch.cat([reference.boxes(f"eval.rpn.decoded.p{n}").flatten(1, 2) for n in range(2, 6)], dim=1)
    torch.testing.assert_close(golden_predictions(reference).boxes, expected, rtol=0, atol=1e-3)


@pytest.mark.golden
def test_propose__reference_in_evaluation__same_set(reference):
    """Catches a suppression that is too strong for evaluation, and logits taken for scores."""
    for image, found in enumerate(propose(golden_predictions(reference), ProposalRules(150, 60, 1.0))):
        assert_same_boxes(found.boxes, reference.boxes("eval.rois_yxyx")[image], 1e-3)
        torch.testing.assert_close(found.scores, reference("eval.roi_scores")[image], rtol=0, atol=1e-5)


@pytest.mark.golden
def test_propose__reference_in_training__same_set(reference):
    """Catches levels that are joined before the suppression, and another number kept per level."""
    for image, found in enumerate(propose(golden_predictions(reference), ProposalRules(150, 60, 0.7))):
        scores = reference("train.roi_scores_nms0.7")[image]
        real = scores > 0  # rows of zeros fill the reference's arrays
        assert_same_boxes(found.boxes, reference.boxes("train.rois_nms0.7_yxyx")[image][real], 1e-3)
        torch.testing.assert_close(found.scores, scores[real], rtol=0, atol=1e-5)


def test_propose__boxes_with_gradient__are_detached():
    """Catches region losses that would train the proposal head."""
    logits = {"p5": torch.randn(1, 1, 2, 2, requires_grad=True)}
    distances = {"p5": torch.rand(1, 4, 2, 2, requires_grad=True)}
    (found,) = propose(predictions_of(logits, distances, (64, 64), 8.0), ProposalRules())
    assert not found.boxes.requires_grad
    assert not found.scores.requires_grad
    assert 0 < len(found.boxes) <= 4
