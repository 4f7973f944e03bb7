"""Set criterion: losses, weighted total and gradients of the reference; batches without objects."""

import pytest
import torch

from dense.errors import NonFiniteError
from dense.modeling.losses import SetCriterion
from dense.modeling.matchers import HungarianMatcher
from dense.modeling.predictions import MaskPrediction, MaskTargets

CASES = ["image_criterion", "image_criterion_no_target", "video_criterion", "video_criterion_two_frames"]


def build(draw, settings=(48, 5, 0.1, 2.0, 5.0, 5.0, 3.0, 0.75), **options):
    points, classes, no_object, class_weight, mask_weight, dice_weight, oversample, importance = (float(v) for v in settings)
    matcher = HungarianMatcher(
        class_weight=class_weight, mask_weight=mask_weight, dice_weight=dice_weight, num_points=int(points), draw=draw
    )
    return SetCriterion(
        num_classes=int(classes),
        matcher=matcher,
        weights={"loss_ce": class_weight, "loss_mask": mask_weight, "loss_dice": dice_weight},
        no_object_weight=no_object,
        num_points=int(points),
        oversample=oversample,
        importance=importance,
        draw=draw,
        **options,
    )


@pytest.mark.golden
@pytest.mark.parametrize("case", CASES)
def test_set_criterion__reference_draws__equal_reference(golden, parity, case):
    """Catches wrong divisors, class weights, point choice, suffixes or gradients; the main prediction comes first."""
    settings = parity.Arrays(golden("matcher_criterion.npz"))["settings"]
    arrays = parity.Arrays(golden("matcher_criterion.npz"), f"{case}.")
    logits, masks = arrays.tensor("logits").requires_grad_(), arrays.tensor("masks").requires_grad_()
    clips = masks if masks.dim() == 6 else masks[:, :, :, None]
    predictions = [MaskPrediction(a, b) for a, b in zip(logits, clips, strict=True)]
    targets = []
    for i in range(logits.shape[1]):
        mask = arrays.tensor(f"target{i}.masks")
        targets.append(MaskTargets(arrays.tensor(f"target{i}.labels"), mask if mask.dim() == 4 else mask[:, None]))
    draws = arrays.draws()
    criterion = build(draws, settings)
    criterion.matcher = parity.Recorder(criterion.matcher)
    losses = criterion(predictions, targets)
    assert not draws.left
    parity.check_criterion(arrays, criterion, losses).backward()
    assert arrays.distance("grad_logits", logits.grad) < 1e-5
    assert arrays.distance("grad_masks", masks.grad) < 1e-5


def empty_batch():
    logits, masks = torch.randn(2, 3, 6, requires_grad=True), torch.randn(2, 3, 1, 4, 6, requires_grad=True)
    nothing = MaskTargets(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 1, 16, 24, dtype=torch.bool))
    return logits, masks, [nothing, nothing]


def test_set_criterion__no_objects__mask_losses_zero_with_gradient():
    """Catches NaN from an empty batch and a loss cut off from the graph; case match-no-objects."""
    logits, masks, targets = empty_batch()
    losses = build(lambda shape, device: torch.rand(shape))([MaskPrediction(logits, masks)], targets)
    assert losses["loss_mask"].item() == 0.0
    assert losses["loss_dice"].item() == 0.0
    assert torch.isfinite(losses["loss_ce"])
    (losses["loss_mask"] + losses["loss_dice"] + losses["loss_ce"]).backward()
    assert masks.grad is not None  # zero, but there: distributed training waits for every parameter
    assert masks.grad.abs().max() == 0
    assert logits.grad.abs().max() > 0


def test_set_criterion__weights__drop_what_has_none():
    """Catches a suffix that hides a loss from its weight, and a loss without weight that stays in the total."""
    criterion = build(lambda shape, device: torch.rand(shape))
    losses = {"loss_ce": torch.tensor(1.0), "loss_dice_12": torch.tensor(2.0), "loss_other_3": torch.tensor(7.0)}
    assert {k: v.item() for k, v in criterion.weighted(losses).items()} == {"loss_ce": 2.0, "loss_dice_12": 10.0}


def test_set_criterion__without_deep_supervision__final_losses_only(parity):
    """Catches a switch that is read and ignored."""
    logits, masks, targets = empty_batch()
    prediction = MaskPrediction(logits, masks)
    criterion = build(lambda shape, device: torch.rand(shape), deep_supervision=False)
    criterion.matcher = parity.Recorder(criterion.matcher)
    assert sorted(criterion([prediction, prediction, prediction], targets)) == ["loss_ce", "loss_dice", "loss_mask"]
    assert len(criterion.matcher.calls) == 1


def test_set_criterion__state_dict__holds_the_official_buffer():
    """Catches class weights that official checkpoints could not fill."""
    criterion = build(lambda shape, device: torch.rand(shape))
    assert list(criterion.state_dict()) == ["empty_weight"]
    assert criterion.empty_weight.tolist() == pytest.approx([1, 1, 1, 1, 1, 0.1])


def test_set_criterion__outputs_not_finite__raise():
    """Catches NaN outputs that go on as NaN losses where there are objects to match."""
    logits, masks, _ = empty_batch()
    target = MaskTargets(torch.tensor([1]), torch.ones(1, 1, 16, 24, dtype=torch.bool))
    with pytest.raises(NonFiniteError):
        build(lambda shape, device: torch.rand(shape))([MaskPrediction(logits * torch.nan, masks)], [target, target])
