"""Regions that the heads learn from, and their targets."""

import pytest
import torch

from dense.projects.dito.boxes import BoxCoder
from dense.projects.dito.proposals import Proposals
from dense.projects.dito.sampling import (
    ImageTargets,
    SampleRules,
    crop_masks,
    match_regions,
    objects_of,
    sample_regions,
    soft_mask_targets,
)


def targets_of(reference, image: int) -> ImageTargets:
    classes = reference("gt.classes")[image].long()
    real = classes > 0
    return ImageTargets(reference.boxes("gt.boxes_yxyx")[image][real], classes[real], reference("gt.masks_in_box")[image][real])


@pytest.mark.golden
def test_match_regions__reference__same_overlap_and_object(reference):
    """Catches overlaps with a legacy pixel, and the index of another object."""
    for image in range(2):
        targets = targets_of(reference, image)
        boxes = torch.cat([reference.boxes("train.rois_nms0.7_yxyx")[image], reference.boxes("gt.boxes_yxyx")[image]])
        overlap, index = match_regions(boxes, targets.boxes)
        expected = reference("train.match.iou")[image]
        near = expected > 1e-4
        torch.testing.assert_close(overlap[near], expected[near], rtol=0, atol=1e-4)
        assert torch.equal(index[near].int(), reference("train.match.gt_index")[image][near])


@pytest.mark.golden
def test_encode__sampled_regions__equal_the_reference_targets(reference):
    """Catches deltas from the object to the region instead of the other way round."""
    wanted = reference("train.sampled.classes") > 0
    found = BoxCoder().encode(reference.boxes("train.sampled.gt_boxes"), reference.boxes("train.sampled.rois"))
    torch.testing.assert_close(found[wanted], reference.boxes("train.box_targets")[wanted], rtol=0, atol=1e-3)


@pytest.mark.golden
def test_soft_mask_targets__reference__equal(reference):
    """Catches half-pixel shifts, a threshold, and targets that go on outside the object's box."""
    compared = 0
    for image in range(2):
        targets = targets_of(reference, image)
        regions = reference.boxes("train.mask.rois")[image]
        known = reference("train.mask.classes")[image] > 0
        _, index = match_regions(regions[known], targets.boxes)
        found = soft_mask_targets(targets.masks[index], targets.boxes[index], regions[known])
        torch.testing.assert_close(found, reference("train.mask.targets")[image][known], rtol=0, atol=1e-3)
        compared += len(found)
    assert compared >= 4


def many(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=generator) * 80
    return torch.cat([corners, corners + 8 + 20 * torch.rand(count, 2, generator=generator)], dim=1)


def test_sample_regions__plenty__keeps_the_share_of_foreground():
    """Catches foreground beyond its share, regions twice, and foreground that does not overlap enough."""
    objects = many(4)
    near = (objects[:, None] + torch.linspace(-0.5, 0.5, 30)[:, None]).reshape(-1, 4)
    proposals = Proposals(torch.cat([near, many(400, 1)]), torch.ones(520))
    found = sample_regions(proposals, ImageTargets(objects, torch.tensor([1, 2, 3, 4])), SampleRules(count=64))
    assert len(found.boxes) == 64
    assert found.foreground == 16
    assert len({tuple(b) for b in found.boxes.tolist()}) == 64
    overlap, index = match_regions(found.boxes, objects)
    assert (overlap[:16] > 0.5).all()
    assert (overlap[16:] < 0.5).all()
    assert torch.equal(found.classes[:16], torch.tensor([1, 2, 3, 4])[index[:16]])
    assert not found.classes[16:].any()


def test_sample_regions__overlap_of_exactly_a_half__is_neither():
    """Catches the borderline region that would be foreground or background."""
    objects = torch.tensor([[0.0, 0, 2, 1]])
    found = sample_regions(
        Proposals(torch.tensor([[0.0, 0, 1, 1], [50, 50, 60, 60]]), torch.ones(2)),
        ImageTargets(objects, torch.tensor([5])),
        SampleRules(count=8, foreground=0.5),
    )
    assert found.boxes.tolist() == [[0, 0, 2, 1], [50, 50, 60, 60]]
    assert found.classes.tolist() == [5, 0]


def test_sample_regions__no_objects__all_background():
    """Catches a crash on an image without ground truth (acceptance check 10)."""
    targets = ImageTargets(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    found = sample_regions(Proposals(many(20), torch.ones(20)), targets, SampleRules(count=8))
    assert found.classes.tolist() == [0] * 8
    assert torch.equal(objects_of([found], [targets]), found.boxes)
    nothing = sample_regions(Proposals(many(0), torch.ones(0)), targets, SampleRules(count=8))
    assert len(nothing.boxes) == 0


def test_crop_masks__ellipse__read_in_its_own_box_is_the_mask():
    """Catches crops of another object's box, and x and y swapped: pixels inside give 1, outside 0."""
    rows, columns = torch.meshgrid(torch.arange(90.0), torch.arange(120.0), indexing="ij")
    mask = ((rows - 50) / 20) ** 2 + ((columns - 70) / 40) ** 2 <= 1
    box = torch.tensor([[30.0, 30, 111, 71]])
    crop = crop_masks(mask[None], box)
    found = soft_mask_targets(crop, box, box, 28)[0]
    y, x = ((torch.arange(28) + 0.5) / 28 * side + start for side, start in ((41, 30), (81, 30)))
    distance = ((y[:, None] - 50.5) / 20.5) ** 2 + ((x[None] - 70.5) / 40.5) ** 2
    assert (found[distance < 0.8] > 0.9).all()
    assert (found[distance > 1.2] < 0.1).all()


def test_soft_mask_targets__region_beside_the_object__zero():
    """Catches border values that are repeated into the background."""
    crops, box = torch.ones(1, 112, 112), torch.tensor([[10.0, 10, 30, 30]])
    assert not soft_mask_targets(crops, box, torch.tensor([[40.0, 10, 60, 30]])).any()
    half = soft_mask_targets(crops, box, torch.tensor([[20.0, 10, 40, 30]]))[0]
    assert half[1:-1, :13].min() == 1
    assert not half[:, 15:].any()
