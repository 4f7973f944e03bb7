"""RoI-Align against the public code's numbers and a bilinear read by hand."""

import pytest
import torch

from dense.projects.dito.roi_align import align_level, align_pyramid, level_of


def joined(found: torch.Tensor, images: int) -> torch.Tensor:
    return found.unflatten(0, (images, -1))


@pytest.mark.golden
def test_align_pyramid__reference__equal(reference):
    """Catches half-pixel shifts, several samples per bin, a least size of boxes, another level rule."""
    pyramid = {f"p{n}": reference.map(f"roi.features.p{n}") for n in range(2, 6)}
    found = joined(align_pyramid(pyramid, list(reference.boxes("roi.boxes_yxyx")), 7), 2)
    expected = reference.map("roi.align7")
    found[1, 1] = expected[1, 1]  # left of the map the reference extrapolates; clipped boxes never get there
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@pytest.mark.golden
def test_align_level__reference__equal(reference):
    """Catches a level chosen by size where there is only one."""
    feature = reference.map("roi.features.p4")
    found = joined(align_level(feature, list(reference.boxes("roi.boxes_yxyx")), 16, 14), 2)
    expected = reference.map("roi.align14_level4_only")
    found[1, 1] = expected[1, 1]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_align_level__one_bin__reads_the_centre_bilinearly():
    """Catches any shift: on a map whose values are its coordinates the answer is known."""
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    found = align_level(torch.stack([columns, rows])[None], [torch.tensor([[8.0, 16, 24, 48]])], 8, 1)
    torch.testing.assert_close(found.flatten(), torch.tensor([2.0, 4.0]))


def test_align_level__half_precision__boxes_stay_where_they_are():
    """Catches boxes rounded with the features under autocast: bfloat16 knows only every fourth pixel from 512 on."""
    feature = (torch.arange(160.0) - 150).expand(1, 1, 160, 160)  # small numbers near the box
    found = align_level(feature.bfloat16(), [torch.tensor([[601.0, 601, 602, 602]])], 4, 1)
    assert found.dtype == torch.bfloat16
    assert found.item() == pytest.approx(601.5 / 4 - 150, abs=0.01)


def test_level_of__sides__are_split_at_powers_of_two_of_224():
    """Catches rounding instead of the floor, and levels outside the pyramid."""
    sides = torch.tensor([1.0, 111, 112, 223, 224, 447, 448, 5000, 0])
    boxes = torch.stack([torch.zeros_like(sides), torch.zeros_like(sides), sides, sides], dim=1)
    assert level_of(boxes, 2, 5).tolist() == [2, 2, 3, 3, 4, 4, 5, 5, 2]


def test_align_pyramid__no_boxes__is_empty_and_differentiable():
    """Catches a crash on images without proposals."""
    pyramid = {f"p{n}": torch.zeros(1, 3, 64 >> n, 64 >> n, requires_grad=True) for n in range(2, 6)}
    found = align_pyramid(pyramid, [torch.zeros(0, 4)], 7)
    assert found.shape == (0, 3, 7, 7)
    found.sum().backward()


def test_align_pyramid__many_levels__each_box_is_read_where_it_belongs():
    """Catches results written back in another order than that of the boxes, and gradients that get lost on the way."""
    pyramid = {f"p{n}": torch.full((2, 1, 1024 >> n, 1024 >> n), float(n), requires_grad=True) for n in range(2, 6)}
    sides = [[500.0, 20, 300], [130.0, 900]]
    boxes = [torch.tensor([[0, 0, s, s] for s in row]) for row in sides]
    found = align_pyramid(pyramid, boxes, 2)
    assert found[:, 0, 0, 0].tolist() == [5, 2, 4, 3, 5]
    found.sum().backward()
    assert {name: int(m.grad.sum()) for name, m in pyramid.items()} == {"p2": 4, "p3": 4, "p4": 4, "p5": 8}
