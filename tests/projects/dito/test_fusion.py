"""Scores at inference."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dense.projects.dito.boxes import BoxCoder, clip_boxes
from dense.projects.dito.fusion import DetectionRules, ScoreFusion, select_detections
from dense.projects.dito.heads import cosine_logits

FUSION = ScoreFusion()


def probabilities(seed: int, rows: int = 6, columns: int = 5) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).softmax(dim=1)


@pytest.mark.golden
def test_cosine_logits__reference__detector_and_frozen_backbone(reference):
    """Catches a forgotten learnt factor (1.25 here), a wrong temperature, vectors that are not normalised."""
    text = reference("text")[0]
    found = cosine_logits(reference("eval.box_embedding"), text, 0.01 * 1.25)
    torch.testing.assert_close(found, reference("eval.detector_logits"), rtol=0, atol=2e-3)
    found = cosine_logits(reference("eval.frozen_roi_pooled"), text, 0.01)
    torch.testing.assert_close(found, reference("eval.frozen_logits"), rtol=0, atol=2e-3)


@pytest.mark.golden
@pytest.mark.parametrize("name", ["all_novel", "indicator"])
def test_fuse__reference__scores_are_equal(reference, name):
    """Catches swapped exponents, a fused background, objectness before the normalisation."""
    for image in range(2):
        detector, frozen = (reference(f"eval.{kind}_logits")[image].softmax(-1) for kind in ("detector", "frozen"))
        is_base = reference("eval.base_indicator")[image, 1:] > 0 if name == "indicator" else None
        fused = FUSION.fuse(detector, frozen, is_base)
        torch.testing.assert_close(fused, reference(f"eval.fused_{name}")[image], rtol=0, atol=2e-4)
        final = FUSION.final(fused, reference("eval.roi_scores")[image])
        torch.testing.assert_close(final, reference(f"eval.final_scores_{name}")[image], rtol=0, atol=2e-4)


@pytest.mark.golden
@pytest.mark.parametrize("name", ["all_novel", "indicator"])
def test_select_detections__reference__boxes_scores_classes_are_equal(reference, name):
    """Catches suppression across classes, and detections whose order or number differs."""
    for image in range(2):
        boxes = BoxCoder().decode(reference.boxes("eval.box_deltas_dydxdhdw")[image], reference.boxes("eval.rois_yxyx")[image])
        scores = reference(f"eval.final_scores_{name}")[image][:, 1:]
        found = select_detections(clip_boxes(boxes, (128, 128)), scores, DetectionRules(most=25))
        assert len(found.boxes) == int(reference(f"eval.{name}.num_detections")[image])
        expected = reference.boxes(f"eval.{name}.detection_boxes")[image]
        torch.testing.assert_close(found.boxes, expected, rtol=0, atol=1e-2)
        torch.testing.assert_close(found.scores, reference(f"eval.{name}.detection_scores")[image], rtol=0, atol=2e-4)
        assert torch.equal(found.classes + 1, reference(f"eval.{name}.detection_classes")[image].long())


@given(seed=st.integers(0, 10_000), base=st.floats(0, 1), novel=st.floats(0, 1))
def test_fuse__both_parts_the_same__give_it_back(seed, base, novel):
    """Catches exponents whose sum is not 1 (acceptance check 5)."""
    p, is_base = probabilities(seed), torch.tensor([True, False, True, False])
    torch.testing.assert_close(ScoreFusion(base, novel).fuse(p, p, is_base), p)


@given(seed=st.integers(0, 10_000))
def test_fuse__exponents_at_their_ends__reduce_to_either_part(seed):
    """Catches the exponent on the wrong probability (acceptance check 5)."""
    p, z = probabilities(seed), probabilities(seed + 1)
    torch.testing.assert_close(ScoreFusion(0, 0).fuse(p, z), p)
    swapped = torch.cat([p[:, :1], z[:, 1:]], dim=1)  # the background stays the detector's
    torch.testing.assert_close(ScoreFusion(1, 1).fuse(p, z), swapped / swapped.sum(dim=1, keepdim=True))
    torch.testing.assert_close(ScoreFusion(objectness=0.0).final(p, torch.rand(6, dtype=torch.float64)), p)


@given(seed=st.integers(0, 10_000))
def test_fuse__background__keeps_its_ratio_to_a_class_of_the_detector_alone(seed):
    """Catches a background that is fused: it changes by the normalisation only (acceptance check 5)."""
    p, z = probabilities(seed), probabilities(seed + 1)
    is_base = torch.tensor([True, False, False, False])
    fused = ScoreFusion(0.0, 0.65).fuse(p, z, is_base)
    torch.testing.assert_close(fused[:, 0] / fused[:, 1], p[:, 0] / p[:, 1])


def test_fuse__no_classes__is_the_background():
    """Catches a crash on an empty vocabulary (acceptance check 10)."""
    one = torch.ones(3, 1)
    assert torch.equal(FUSION.fuse(one, one, torch.zeros(0, dtype=torch.bool)), one)


def class_by_class(boxes: torch.Tensor, scores: torch.Tensor, rules: DetectionRules):
    """The words of the specification, one class after the other."""
    found = []
    for label in range(scores.shape[1]):
        order = [int(k) for k in scores[:, label].argsort(descending=True) if scores[k, label] > rules.score]
        kept: list[int] = []
        for k in order[: rules.per_class]:
            if all(overlap(boxes[k], boxes[j]) < rules.overlap for j in kept):
                kept.append(k)
        found += [(float(scores[k, label]), k, label) for k in kept]
    return sorted(found, reverse=True)[: rules.most]


def overlap(a: torch.Tensor, b: torch.Tensor) -> float:
    w, h = (torch.minimum(a[2:], b[2:]) - torch.maximum(a[:2], b[:2])).clamp(min=0).tolist()
    areas = [float((x[2] - x[0]) * (x[3] - x[1])) for x in (a, b)]
    return w * h / (sum(areas) - w * h)


@pytest.mark.parametrize(
    ("most", "per_class", "classes"), [(5, 1000, 4), (300, 1000, 3), (40, 6, 2), (10, 1000, 1), (3, 9, 300)]
)
def test_select_detections__random__as_class_by_class(most, per_class, classes):
    """Catches candidates cut too early, a limit per class that is global, and classes that suppress each other."""
    torch.manual_seed(most + classes)
    corners = torch.rand(40, 2) * 30
    boxes, scores = torch.cat([corners, corners + 5 + 20 * torch.rand(40, 2)], dim=1), torch.rand(40, classes) - 0.1
    rules = DetectionRules(most=most, per_class=per_class)
    found = select_detections(boxes, scores, rules)
    expected = class_by_class(boxes, scores, rules)
    assert found.classes.tolist() == [label for _, _, label in expected]
    assert torch.equal(found.boxes, boxes[[k for _, k, _ in expected]])
    torch.testing.assert_close(found.scores, torch.tensor([s for s, _, _ in expected]))


@pytest.mark.parametrize("shape", [(0, 5), (7, 0), (0, 0)])
def test_select_detections__nothing__gives_nothing(shape):
    """Catches a crash without proposals and with an empty vocabulary (acceptance check 10)."""
    found = select_detections(torch.rand(shape[0], 4), torch.rand(shape), DetectionRules())
    assert found.boxes.shape == (0, 4)
    assert found.scores.shape == found.classes.shape == (0,)


def test_select_detections__scores_of_zero__are_no_detections():
    """Catches a threshold that lets through what is equal to it."""
    found = select_detections(torch.tensor([[0.0, 0, 9, 9]]), torch.tensor([[0.0, 0.1]]), DetectionRules())
    assert found.classes.tolist() == [1]
