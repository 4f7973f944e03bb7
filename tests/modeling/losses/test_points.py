"""Points on maps: sampling and the choice of uncertain points."""

import numpy as np
import pytest
import torch

from dense.modeling.losses.points import sample_at_points, uncertain_points


@pytest.mark.golden
def test_sample_at_points__reference_points__equal_reference(golden, parity):
    """Catches (y, x) instead of (x, y) and corners aligned."""
    arrays = parity.Arrays(golden("matcher_criterion.npz"), "point_sample.")
    assert arrays.distance("values", sample_at_points(arrays.tensor("maps"), arrays.tensor("points"))) < 1e-5


def test_sample_at_points__pixel_centres__give_the_pixels():
    """Catches pixel centres at integers: column 2 of 5 lies at 0.5."""
    maps = torch.arange(15.0).view(1, 1, 3, 5)
    points = torch.tensor([[[(x + 0.5) / 5, (y + 0.5) / 3] for y in range(3) for x in range(5)]])
    assert torch.allclose(sample_at_points(maps, points)[0, 0], torch.arange(15.0), atol=1e-5)


def test_sample_at_points__no_maps__returns_empty():
    """Catches a crash when a batch has no objects."""
    assert sample_at_points(torch.zeros(0, 2, 4, 4), torch.zeros(0, 7, 2)).shape == (0, 2, 7)


@pytest.mark.golden
def test_uncertain_points__reference_draws__choose_the_same_points(golden, parity):
    """Catches certain points chosen instead of uncertain ones, fresh points missing, draws in another order."""
    arrays = parity.Arrays(golden("matcher_criterion.npz"), "uncertain.")
    count, oversample, importance = arrays["settings"]
    draws = arrays.draws()
    points = uncertain_points(arrays.tensor("logits"), int(count), oversample=oversample, importance=importance, draw=draws)
    assert not draws.left
    for ours, theirs in zip(points.tolist(), arrays["points"].tolist(), strict=True):
        assert np.allclose(sorted(ours), sorted(theirs), atol=1e-6)


def test_uncertain_points__importance_one__draws_no_fresh_points():
    """Catches a second draw of size zero that would shift every later draw of a replay."""
    shapes = []

    def draw(shape, device):
        shapes.append(shape)
        return torch.rand(shape)

    points = uncertain_points(torch.randn(2, 1, 4, 4), 6, oversample=2.0, importance=1.0, draw=draw)
    assert points.shape == (2, 6, 2)
    assert shapes == [(2, 12, 2)]


@pytest.mark.parametrize("size", [(1, 1), (5, 9), (64, 40)])
def test_sample_at_points__bool_maps__equal_their_float_maps(size):
    """Catches neighbours, weights or borders that differ from bilinear sampling."""
    torch.manual_seed(4)
    maps = torch.rand(3, 2, *size) < 0.5
    points = torch.cat((torch.rand(3, 200, 2), torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]]).expand(3, -1, -1)), dim=1)
    assert torch.allclose(sample_at_points(maps, points), sample_at_points(maps.float(), points), atol=1e-5)
