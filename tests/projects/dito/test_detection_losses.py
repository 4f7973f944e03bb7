"""The losses of finetuning against the public code's numbers, and at their edges."""

import pytest
import torch

from dense.projects.dito.detection_losses import (
    classification_loss,
    distillation_loss,
    mask_loss,
    objectness_loss,
    proposal_box_loss,
    region_box_loss,
)
from dense.projects.dito.proposals import predictions_of

SAMPLES = 256


def assert_loss(reference, name: str, found: torch.Tensor) -> None:
    torch.testing.assert_close(found, reference(f"train.loss.{name}"), rtol=1e-4, atol=0)


def flat(reference, name: str) -> torch.Tensor:
    return torch.cat([reference(f"{name}.p{n}").flatten(1, 2) for n in range(2, 6)], dim=1)


@pytest.mark.golden
def test_proposal_losses__reference__equal(reference):
    """Catches division by the number of samples instead of the constant, and losses over sampled anchors only."""
    maps = (reference.pyramid(f"eval.rpn.{kind}") for kind in ("logit", "lrtb"))
    predictions = predictions_of(*maps, (128, 128), 8.0)
    scores = flat(reference, "targets.score")[..., 0]
    boxes = torch.cat([reference.boxes(f"targets.box.p{n}").flatten(1, 2) for n in range(2, 6)], dim=1)
    assert_loss(reference, "rpn_score_loss", objectness_loss(predictions.logits, scores, SAMPLES))
    found = proposal_box_loss(predictions.boxes, boxes, boxes.any(dim=-1), SAMPLES)
    assert_loss(reference, "rpn_box_loss", found)


@pytest.mark.golden
def test_region_losses__reference__equal(reference):
    """Catches the background's factor in the denominator, and a mean over all regions instead of the foreground."""
    classes = reference("train.sampled.classes").flatten().long()
    logits = reference("train.class_logits").flatten(0, 1)
    assert_loss(reference, "fast_rcnn_class_loss", classification_loss(logits, classes))
    deltas, targets = (reference.boxes(f"train.box_{name}").flatten(0, 1) for name in ("deltas", "targets"))
    assert_loss(reference, "fast_rcnn_box_loss", region_box_loss(deltas, targets, classes))


@pytest.mark.golden
def test_mask_loss__reference__equal(reference):
    """Catches a mean that counts the rows of background."""
    known = reference("train.mask.classes") > 0
    assert_loss(
        reference, "mask_loss", mask_loss(reference("train.mask.logits")[known], reference("train.mask.targets")[known])
    )


def test_losses__no_foreground__zero_with_a_gradient():
    """Catches 0 / 0 on images without objects, and losses that a second process would wait for (acceptance check 10)."""
    deltas = torch.randn(5, 4, requires_grad=True)
    logits = torch.randn(0, 28, 28, requires_grad=True)
    pooled = torch.randn(0, 8, requires_grad=True)
    total = (
        region_box_loss(deltas, torch.zeros(5, 4), torch.zeros(5, dtype=torch.int64))
        + mask_loss(logits, torch.zeros(0, 28, 28))
        + distillation_loss(pooled, torch.zeros(0, 8))
    )
    total.backward()
    assert total.item() == 0
    assert not deltas.grad.any()


def test_classification_loss__no_regions__zero():
    """Catches a mean of nothing."""
    assert classification_loss(torch.zeros(0, 4, requires_grad=True), torch.zeros(0, dtype=torch.int64)).item() == 0


def test_proposal_box_loss__inverted_prediction__is_left_out():
    """Catches losses beyond every bound from boxes whose sides have changed places."""
    predictions = torch.tensor([[[40.0, 40, 10, 10], [0, 0, 10, 10], [60, 0, 0, 20]]])
    targets = torch.tensor([[[0.0, 0, 30, 30], [0, 0, 10, 20], [0, 0, 30, 30]]])
    found = proposal_box_loss(predictions, targets, torch.ones(1, 3, dtype=torch.bool), 1, 1.0)
    assert 0.5 <= found.item() <= 3
    worse = proposal_box_loss(predictions, targets, torch.tensor([[False, True, False]]), 1, 1.0)
    assert worse.item() == pytest.approx(0.5)


def test_distillation_loss__same_direction__zero_and_opposite__two():
    """Catches a loss on lengths, and gradients into the teacher."""
    x = torch.randn(3, 8, requires_grad=True)
    teacher = torch.randn(3, 8, requires_grad=True)
    assert distillation_loss(x, 5 * x).item() == pytest.approx(0, abs=1e-5)
    assert distillation_loss(x, -x).item() == pytest.approx(2, abs=1e-5)
    distillation_loss(x, teacher).backward()
    assert teacher.grad is None
    assert x.grad.any()
