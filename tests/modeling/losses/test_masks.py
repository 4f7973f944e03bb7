"""Mask and dice losses and costs against the reference's numbers."""

import pytest
import torch

from dense.modeling.losses.masks import mask_cost, mask_loss, overlap_cost, overlap_loss


@pytest.fixture
def arrays(golden, parity):
    return parity.Arrays(golden("matcher_criterion.npz"), "functions.")


@pytest.mark.golden
@pytest.mark.parametrize(("name", "function"), [("cost_mask", mask_cost), ("cost_dice", overlap_cost)])
def test_costs__all_pairs__equal_reference(arrays, name, function):
    """Catches a missing smoothing term, a sum instead of a mean over points, rows and columns swapped."""
    assert arrays.distance(name, function(arrays.tensor("logits"), arrays.tensor("targets"))) < 1e-5


@pytest.mark.golden
@pytest.mark.parametrize(("name", "function"), [("loss_mask", mask_loss), ("loss_dice", overlap_loss)])
def test_losses__matched_pairs__value_and_gradient_equal_reference(arrays, name, function):
    """Catches a wrong divisor and a smoothing term that shifts the gradient."""
    logits = arrays.tensor("logits")[: len(arrays["targets"])].requires_grad_()
    loss = function(logits, arrays.tensor("targets"), float(arrays["num_masks"]))
    loss.backward()
    assert arrays.distance(name, loss) < 1e-5
    assert arrays.distance(f"{name}.grad", logits.grad) < 1e-5


@pytest.mark.parametrize("pair", [(mask_cost, mask_loss), (overlap_cost, overlap_loss)])
def test_costs__diagonal__is_the_loss(pair):
    """Catches costs and losses that drift apart: the diagonal of the costs, averaged, is the loss."""
    cost, loss = pair
    logits, targets = torch.randn(4, 9) * 50, (torch.rand(4, 9) < 0.5).float()
    assert torch.allclose(cost(logits, targets).diagonal().sum() / 4, loss(logits, targets, 4.0), rtol=1e-4)
