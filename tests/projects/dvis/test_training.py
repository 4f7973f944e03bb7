"""Refiner losses on frames stacked along the height, and queries in the tracker's order, against the reference."""

import pytest
import torch

from dense.modeling.losses import SetCriterion
from dense.modeling.matchers import HungarianMatcher
from dense.modeling.predictions import MaskPrediction, MaskTargets
from dense.projects.dvis.refiners import Refined
from dense.projects.dvis.segmenting import reordered
from dense.projects.dvis.training import refining_losses


@pytest.mark.golden
def test_reordered__reference_indices__equal_reference(golden, parity):
    """Catches the inverse order, and masks of another frame."""
    arrays = parity.Arrays(golden("dvis_parts.npz"), "reorder.")
    masks = arrays.tensor("in.pred_masks")[0].transpose(0, 1)[:, :, None]  # (T, Q, 1, h, w)
    result = reordered(MaskPrediction(arrays.tensor("in.pred_logits")[0], masks), arrays.tensor("indices"))
    assert arrays.distance("pred_logits", result.logits[None]) == 0
    assert arrays.distance("pred_masks", result.masks[:, :, 0].transpose(0, 1)[None].contiguous()) == 0


@pytest.mark.golden
def test_refining_losses__three_frames__equal_reference(golden, parity):
    """Catches frames stacked along the width, points per frame, objects counted per frame, wrong gradients."""
    arrays = parity.Arrays(golden("matcher_criterion.npz"), "offline_stack.")
    logits, masks = arrays.tensor("logits").requires_grad_(), arrays.tensor("frames_masks").requires_grad_()
    draws = arrays.draws()
    points = draws.left[0].shape[1]
    matcher = HungarianMatcher(class_weight=2.0, mask_weight=5.0, dice_weight=5.0, num_points=points, draw=draws)
    criterion = SetCriterion(
        num_classes=5,
        matcher=parity.Recorder(matcher),
        weights={"loss_ce": 2.0, "loss_mask": 5.0, "loss_dice": 5.0},
        no_object_weight=0.1,
        num_points=points,
        oversample=3.0,
        importance=0.75,
        draw=draws,
    )
    predictions = [MaskPrediction(a, b) for a, b in zip(logits, masks, strict=True)]
    wanted = arrays.tensor("frames_target_masks")
    clip = MaskTargets(arrays.tensor("target0.labels"), wanted, torch.zeros(wanted.shape[:2], dtype=torch.int64))
    losses = refining_losses(criterion, Refined(predictions, masks), [clip], None, None)
    assert not draws.left
    for name, value in zip(arrays["loss_names"].tolist(), arrays["losses"].tolist(), strict=True):
        weight = criterion.weights["_".join(name.split("_")[:2])]
        assert losses[name].item() == pytest.approx(weight * value, rel=1e-5), name
    for c, call in enumerate(criterion.matcher.calls):
        assert torch.stack(call[0]).tolist() == arrays[f"call{c}.match0"].tolist()
    torch.stack(list(losses.values())).sum().backward()
    assert arrays.distance("grad_logits", logits.grad) < 1e-5
    assert arrays.distance("grad_masks", masks.grad.flatten(3, 4)[:, :, :, None]) < 1e-5
