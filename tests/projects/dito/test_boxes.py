"""Box arithmetic against the public code's numbers, and against what the words mean."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dense.projects.dito.boxes import (
    BoxCoder,
    clip_boxes,
    decode_distances,
    encode_distances,
    paired_iou,
    pairwise_iou,
    shrink_boxes,
    suppress,
)


def some_boxes(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=generator) * 100
    return torch.cat([corners, corners + 1 + 60 * torch.rand(count, 2, generator=generator)], dim=1)


@pytest.mark.golden
def test_encode__reference__equal(reference):
    """Catches swapped axes or weights, and sides without the legacy pixel."""
    found = BoxCoder().encode(reference.boxes("boxes.encode.boxes"), reference.boxes("boxes.encode.anchors"))
    torch.testing.assert_close(found, reference.boxes("boxes.encode.out_dydxdhdw"), rtol=0, atol=1e-4)


@pytest.mark.golden
def test_decode__reference__equal(reference):
    """Catches a missing clamp of the growth (row 0 needs it), and corners a pixel off."""
    found = BoxCoder().decode(reference.boxes("boxes.decode.deltas_dydxdhdw"), reference.boxes("boxes.encode.anchors"))
    torch.testing.assert_close(found, reference.boxes("boxes.decode.out"), rtol=1e-3, atol=1e-3)


@pytest.mark.golden
def test_decode_distances__reference__equal(reference):
    """Catches another order of the four distances than left, right, top, bottom."""
    found = decode_distances(reference("boxes.lrtb.in"), reference.boxes("boxes.encode.anchors"))
    torch.testing.assert_close(found, reference.boxes("boxes.lrtb.out"), rtol=0, atol=1e-4)


@pytest.mark.golden
def test_shrink__reference__equal(reference):
    """Catches shrinking about a corner, and clipping to W instead of W-1."""
    boxes, expected = reference.boxes("roi.boxes_yxyx"), reference.boxes("boxes.shrunk_0.7")
    for b in range(2):
        height, width = reference("boxes.image_hw")[b].tolist()
        torch.testing.assert_close(shrink_boxes(boxes[b], 0.7, (height, width)), expected[b], rtol=0, atol=1e-4)


@pytest.mark.golden
@pytest.mark.parametrize("threshold", [0.5, 0.7, 1.0])
def test_suppress__reference__keeps_the_same_rows(reference, threshold):
    """Catches ">" instead of ">=", duplicates or all-zero rows that stay at threshold 1, and other empty boxes that go."""
    boxes, scores = reference.boxes("nms.boxes_yxyx"), reference("nms.scores")
    kept = suppress(boxes, scores, threshold, 60)
    expected = reference(f"nms.iou{threshold:.1f}.scores")
    assert torch.equal(scores[kept], expected[: len(kept)])
    assert torch.equal(boxes[kept], reference.boxes(f"nms.iou{threshold:.1f}.boxes")[: len(kept)])
    assert not expected[len(kept) :].any()


def test_suppress__overlap_of_exactly_the_threshold__goes():
    """Catches the rule of libraries, which suppress above the threshold only."""
    boxes = torch.tensor([[0.0, 0, 2, 1], [0, 0, 1, 1], [0, 5, 1, 6]])  # the first two overlap by exactly 1/2
    assert suppress(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5, 10).tolist() == [0, 2]
    assert suppress(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.51, 10).tolist() == [0, 1, 2]
    assert suppress(boxes[:0], torch.zeros(0), 0.5, 10).tolist() == []


@given(seed=st.integers(0, 10_000), legacy=st.booleans())
def test_coder__encoded_and_decoded__returns(seed, legacy):
    """Catches the two directions disagreeing about the legacy pixel or the weights."""
    boxes, anchors = some_boxes(7, seed), some_boxes(7, seed + 1)
    coder = BoxCoder(legacy_plus_one=legacy)
    torch.testing.assert_close(coder.decode(coder.encode(boxes, anchors), anchors), boxes, rtol=1e-3, atol=1e-2)


@given(seed=st.integers(0, 10_000))
def test_distances__encoded_and_decoded__return(seed):
    """Catches an encoder and a decoder with different orders or units (acceptance check 4)."""
    boxes, anchors = some_boxes(7, seed), some_boxes(7, seed + 1)
    torch.testing.assert_close(decode_distances(encode_distances(boxes, anchors), anchors), boxes, rtol=1e-4, atol=1e-3)


def test_coder__without_legacy_pixel__is_the_common_coder():
    """Catches a switch that leaves half of the arithmetic on: Detectron2's coder is the authority."""
    from detectron2.modeling.box_regression import Box2BoxTransform

    boxes, anchors = some_boxes(9, 1), some_boxes(9, 2)
    theirs = Box2BoxTransform((10.0, 10.0, 5.0, 5.0)).get_deltas(anchors, boxes)
    torch.testing.assert_close(BoxCoder(legacy_plus_one=False).encode(boxes, anchors), theirs)


def test_iou__ordinary_boxes__as_torchvision():
    """Catches areas with a legacy pixel, and partners that are mixed up."""
    from torchvision.ops import box_iou

    boxes, others = some_boxes(8, 3), some_boxes(8, 4)
    torch.testing.assert_close(pairwise_iou(boxes, others), box_iou(boxes, others))
    torch.testing.assert_close(paired_iou(boxes, others), box_iou(boxes, others).diagonal())


def test_clip__outside__moves_to_the_last_pixel():
    """Catches clipping to (H, W) as (W, H), and to W instead of W-1."""
    assert clip_boxes(torch.tensor([[-3.0, 5, 900, 900]]), (20, 40)).tolist() == [[0, 5, 39, 19]]
