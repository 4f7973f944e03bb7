"""The two anchor labelers."""

import pytest
import torch

from dense.projects.dito.labeling import (
    IGNORED,
    NEGATIVE,
    LabelRules,
    centerness,
    label_anchors,
    make_anchors,
    match_anchors,
    stack_targets,
)

RULES = LabelRules()


def anchors_of(size: int) -> torch.Tensor:
    return torch.cat([make_anchors(size // s, size // s, s, 8.0) for s in (4, 8, 16, 32)])


def objects(reference, image: int) -> torch.Tensor:
    boxes = reference.boxes("gt.boxes_yxyx")[image]
    return boxes[reference("gt.classes")[image] > 0]


@pytest.mark.golden
@pytest.mark.parametrize("image", [0, 1])
@pytest.mark.parametrize(("name", "limits"), [("regression", RULES.box), ("centerness", RULES.score)])
def test_match_anchors__reference__equal(reference, image, name, limits):
    """Catches another tie rule of forced matches, and limits that are open where they are closed."""
    found = match_anchors(anchors_of(128), objects(reference, image), *limits)
    assert torch.equal(found.int(), reference(f"targets.{name}_match.{image}"))


@pytest.mark.golden
@pytest.mark.parametrize("image", [0, 1])
def test_label_anchors__more_samples_than_anchors__give_the_reference_before_sampling(reference, image):
    """Catches centerness of another box than the matched one, and ignored anchors that learn."""
    rules = LabelRules(samples=100_000)
    found = label_anchors(anchors_of(128), objects(reference, image), rules).scores
    torch.testing.assert_close(found, reference(f"targets.centerness_before_sampling.{image}"), rtol=0, atol=1e-5)


@pytest.mark.golden
def test_label_anchors__box_targets__are_those_of_the_reference(reference):
    """Catches boxes of the other labeler, of which there are more."""
    expected = torch.cat([reference.boxes(f"targets.box.p{n}").flatten(1, 2) for n in range(2, 6)], dim=1)
    found = stack_targets([label_anchors(anchors_of(128), objects(reference, b), RULES) for b in range(2)])
    torch.testing.assert_close(found.boxes, expected)
    assert torch.equal(found.has_box, expected.any(dim=-1))


@pytest.mark.golden
def test_make_anchors__reference__equal(whole_reference):
    """Catches centres on the cells' corners, columns before rows, a side of another scale."""
    for level, stride in (("p2", 4), ("p3", 8), ("p4", 16), ("p5", 32)):
        expected = whole_reference.boxes(f"anchors.{level}_yxyx")
        torch.testing.assert_close(make_anchors(128 // stride, 128 // stride, stride, 8.0), expected)


def test_centerness__centre_border_outside__are_one_zero_zero():
    """Catches ratios turned upside down (acceptance check 4)."""
    box = torch.tensor([0.0, 0, 40, 20])
    centres = torch.tensor([[20.0, 10], [0, 10], [39.999, 10], [50, 10], [10, 10]])
    found = centerness(torch.cat([centres - 3, centres + 3], dim=1), box.expand(5, 4))
    torch.testing.assert_close(found, torch.tensor([1.0, 0, 0, 0, (10 / 30) ** 0.5]), rtol=1e-3, atol=6e-3)


def test_label_anchors__many_objects__draws_what_the_rules_say():
    """Catches a share of positives that is rounded up, and sampling that touches the box targets (acceptance check 4)."""
    torch.manual_seed(0)
    anchors = anchors_of(128)
    rules = LabelRules(samples=64, positives=63 / 64)
    boxes = torch.tensor([[10.0, 10, 60, 60], [50, 40, 120, 120], [0, 0, 128, 128]])
    found = label_anchors(anchors, boxes, rules)
    matched = match_anchors(anchors, boxes, *rules.score)
    assert int((found.scores >= 0).sum()) == 64
    assert int(((found.scores >= 0) & (matched >= 0)).sum()) == 63
    assert torch.equal(found.has_box, match_anchors(anchors, boxes, *rules.box) >= 0)
    assert not ((found.scores >= 0) & (matched == IGNORED)).any()


def test_label_anchors__no_objects__all_samples_are_negative():
    """Catches a crash, and anchors that learn something positive, on an image without objects."""
    found = label_anchors(anchors_of(64), torch.zeros(0, 4), LabelRules(samples=32))
    assert int((found.scores == 0).sum()) == 32
    assert int((found.scores > 0).sum()) == 0
    assert not found.has_box.any()


def test_match_anchors__tiny_object__has_its_best_anchor():
    """Catches objects smaller than any anchor that nobody learns; the lower index wins an anchor that two claim."""
    anchors = make_anchors(2, 2, 16, 8.0)
    boxes = torch.tensor([[7.0, 7, 9, 9], [7, 7, 9, 9]])
    found = match_anchors(anchors, boxes, 0.7, 0.3)
    assert found.tolist() == [0, NEGATIVE, NEGATIVE, NEGATIVE]
