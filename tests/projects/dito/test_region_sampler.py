"""Random boxes and the samplers of regions."""

import pytest
import torch

from dense.errors import ConfigError
from dense.projects.dito.region_sampler import REGION_SAMPLERS, RandomBoxes


def test_random_boxes__many__inside_and_spread_over_their_ranges():
    """Catches swapped sides, areas outside their range, and places that favour a corner."""
    boxes = RandomBoxes((0.1, 0.6), (0.5, 2.0))(20_000, 64, 64)
    assert boxes.min() >= 0
    assert boxes.max() <= 64
    width, height = (boxes[:, 2:] - boxes[:, :2]).unbind(1)
    share, aspect = width * height / 64**2, width / height
    assert float(share.min()) == pytest.approx(0.1, abs=0.002)
    assert float(share.max()) < 0.6001
    assert float(aspect.min()) == pytest.approx(0.5, abs=0.002)
    assert float(aspect.max()) == pytest.approx(2.0, abs=0.008)
    assert float(aspect.log().mean()) == pytest.approx(0.0, abs=0.02)
    assert float((boxes[:, 0] + boxes[:, 2]).mean() / 2) == pytest.approx(32, abs=0.3)
    assert float((boxes[:, 1] + boxes[:, 3]).mean() / 2) == pytest.approx(32, abs=0.3)


def test_random_boxes__wide_area__sides_not_swapped():
    """Catches heights drawn along the width, and an aspect upside down."""
    boxes = RandomBoxes((0.5, 0.5), (2.0, 2.0))(100, 40, 80)
    width, height = (boxes[:, 2:] - boxes[:, :2]).unbind(1)
    torch.testing.assert_close(width, torch.full((100,), 3200**0.5))
    torch.testing.assert_close(height, torch.full((100,), 800**0.5))


def test_random_boxes__none_fits__the_whole_area():
    """Catches boxes that reach out after ten attempts."""
    boxes = RandomBoxes((1.0, 1.0), (1.9, 2.0))(5, 64, 64)
    assert boxes.tolist() == [[0, 0, 64, 64]] * 5


@pytest.mark.parametrize("given", [((0.0, 1.0),), ((0.5, 0.1),), ((0.1, 1.2),), ((0.1,),), ((0.1, 1.0), (0.0, 2.0))])
def test_random_boxes__impossible_range__refused(given):
    """Catches boxes without area."""
    with pytest.raises(ConfigError, match=r"area|aspect"):
        RandomBoxes(*given)


def test_samplers__shapes_and_contents():
    """Catches boxes shared by all images, a missing whole image, and cells that leave gaps."""
    drawn = {name: REGION_SAMPLERS.get(name)(RandomBoxes(), 3, 4, 128) for name in REGION_SAMPLERS}
    assert all(boxes.shape == (3, 4, 4) for boxes in drawn.values())
    assert not torch.equal(drawn["random_only_boxes"][0], drawn["random_only_boxes"][1])
    assert drawn["random_and_full_boxes"][:, -1].tolist() == [[0, 0, 128, 128]] * 3
    assert drawn["grid_boxes"][1].tolist() == [[0, 0, 64, 64], [64, 0, 128, 64], [0, 64, 64, 128], [64, 64, 128, 128]]
    with pytest.raises(ConfigError, match="square number"):
        REGION_SAMPLERS.get("grid_boxes")(RandomBoxes(), 1, 5, 128)
    with pytest.raises(ConfigError, match="grid_boxes"):
        REGION_SAMPLERS.get("grid_box")
