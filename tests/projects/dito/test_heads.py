"""Pyramid and heads of DITO's detector against reference arrays; what must not change a score."""

import math

import pytest
import torch
from torch import nn

from dense.layers import ChannelNorm, CosineConv2d, CosineLinear, unit_length
from dense.projects.dito.heads import BoxHead, MaskHead, ProposalHead, cosine_logits
from dense.projects.dito.pyramid import LEVELS, SimplePyramid

CHANNELS, HIDDEN, WIDTH = 16, 64, 48
XYXY = [1, 0, 3, 2]


def loaded(module, arrays, place):
    module.load_state_dict(arrays.part(place))
    return module.eval().requires_grad_(False)


def levels(arrays):
    return {name: arrays.nchw(f"eval.pyramid.{name}") for name in LEVELS}


def regions(maps, boxes_yxyx, side):
    """One bilinear sample in the middle of each bin of each box, from the level that fits the box's size (specification)."""
    found = []
    for box in boxes_yxyx.tolist():
        y1, x1, y2, x2 = box
        area = max((y2 - y1) * (x2 - x1), 1e-9)
        level = min(max(math.floor(math.log2(math.sqrt(area) / 224)) + 4, 2), 5)
        plane, stride = maps[f"p{level}"], 2**level
        axes = []
        for start, end, size in ((y1, y2, plane.shape[1]), (x1, x2, plane.shape[2])):
            place = (start + (torch.arange(side) + 0.5) / side * (end - start)) / stride
            place = place.clamp(0, size - 1)
            axes.append((1 - (place[:, None] - torch.arange(size)).abs()).clamp(min=0))  # weights of the cells
        found.append(torch.einsum("yi,cij,xj->cyx", axes[0], plane, axes[1]))
    return torch.stack(found)


@pytest.mark.golden
def test_simple_pyramid__reference_weights__reference_levels(arrays):
    """Catches deconvolutions that are not turned, biases, the other GELU, norms in each other's place."""
    arrays.need("vit.window.shift")
    with torch.no_grad():
        actual = loaded(SimplePyramid(WIDTH, CHANNELS), arrays, "pyramid.")(arrays.nchw("vit.window.shift"))
    assert list(actual) == list(LEVELS)
    for name, level in actual.items():
        assert (level - arrays.nchw(f"eval.pyramid.{name}")).abs().max() < 1e-4, name


def test_simple_pyramid__sides__strides_4_to_32():
    """Catches levels in the wrong order or size."""
    actual = SimplePyramid(8, 4)(torch.randn(1, 8, 4, 6))
    assert {name: tuple(level.shape) for name, level in actual.items()} == {
        "p2": (1, 4, 16, 24),
        "p3": (1, 4, 8, 12),
        "p4": (1, 4, 4, 6),
        "p5": (1, 4, 2, 3),
    }
    assert not any(
        "bias" in name for name, _ in SimplePyramid(8, 4).named_parameters() if "norm" not in name and ".1." not in name
    )


@pytest.mark.golden
def test_proposal_head__reference_pyramid__reference_outputs(arrays):
    """Catches norms shared by the levels, or given to another level or convolution."""
    scores, distances = loaded(ProposalHead(CHANNELS), arrays, "proposal_head.")(levels(arrays))
    for name in LEVELS:
        assert (scores[name] - arrays.nchw(f"eval.rpn.logit.{name}")).abs().max() < 1e-4, name
        assert (distances[name] - arrays.nchw(f"eval.rpn.lrtb.{name}")).abs().max() < 1e-4, name


@pytest.mark.golden
def test_box_head__reference_regions__reference_embeddings_and_corrections(arrays):
    """Catches the linear layer's inputs in another order, corrections with y first, columns that are not normalised."""
    count = 16
    maps = levels(arrays)
    boxes = arrays.tensor("eval.rois_yxyx")[:, :count]
    cut = torch.cat([regions({name: m[i] for name, m in maps.items()}, boxes[i], 7) for i in range(len(boxes))])
    embedding, deltas = loaded(BoxHead(CHANNELS, HIDDEN, WIDTH), arrays, "box_head.")(cut)
    assert (embedding - arrays.tensor("eval.box_embedding")[:, :count].flatten(0, 1)).abs().max() < 1e-3
    expected = arrays.tensor("eval.box_deltas_dydxdhdw")[:, :count].flatten(0, 1)[:, XYXY]
    assert (deltas - expected).abs().max() < 1e-3


@pytest.mark.golden
def test_mask_head__reference_boxes__reference_logits(arrays):
    """Catches kernels normalised over all taps together, a lost bias, a deconvolution that is not turned."""
    maps = levels(arrays)
    boxes = arrays.tensor("train.mask.rois")
    expected = arrays.tensor("train.mask.logits")
    head = loaded(MaskHead(CHANNELS), arrays, "mask_head.")
    for i in range(len(boxes)):
        actual = head(regions({name: m[i] for name, m in maps.items()}, boxes[i], 14))
        assert actual.shape[1:] == (1, 28, 28)
        assert (actual[:, 0] - expected[i]).abs().max() < 1e-3


@pytest.mark.golden
def test_cosine_logits__reference_embeddings__reference_logits(arrays):
    """Catches a forgotten learnt factor (1.25 there), and text that is taken for normalised."""
    text = arrays.tensor("text")
    text = text if text.dim() == 2 else text[0]
    temperature = 0.01 * arrays.part("temperature")[""]
    actual = cosine_logits(arrays.tensor("eval.box_embedding"), text, temperature)
    assert (actual - arrays.tensor("eval.detector_logits")).abs().max() < 2e-3


@pytest.mark.golden
def test_cosine_logits__frozen_regions__reference_logits(arrays):
    """Catches the frozen branch's temperature multiplied by the learnt factor."""
    arrays.need("eval.frozen_roi_pooled")
    actual = cosine_logits(arrays.tensor("eval.frozen_roi_pooled"), arrays.tensor("text")[0], 0.01)
    assert (actual - arrays.tensor("eval.frozen_logits")).abs().max() < 2e-3


@pytest.mark.parametrize("factor", [0.01, 7.0])
def test_box_head__embedding_weights_scaled__scores_stay(factor):
    """Catches weights of the embedding that are not normalised: their length must not matter."""
    head, text, cut = BoxHead(4, 8, 6), torch.randn(3, 6), torch.randn(5, 4, 7, 7)
    with torch.no_grad():
        before = cosine_logits(head(cut)[0], text, 0.01)
        head.embed.weight.mul_(factor)
        torch.testing.assert_close(cosine_logits(head(cut)[0], text, 0.01), before, rtol=1e-4, atol=1e-3)


def test_cosine_logits__zero_rows__zero_and_a_finite_gradient():
    """Catches NaN from embeddings or words without length, which empty rows of a vocabulary have."""
    embedding = torch.zeros(2, 3, requires_grad=True)
    logits = cosine_logits(embedding, torch.zeros(4, 3), 0.01)
    assert logits.equal(torch.zeros(2, 4))
    logits.sum().backward()
    assert embedding.grad.isfinite().all()


def test_cosine_logits__no_region_and_no_word__empty():
    """Catches a crash on an image without proposals, or a vocabulary of the background alone."""
    assert cosine_logits(torch.zeros(0, 3), torch.randn(1, 3), 0.01).shape == (0, 1)
    embedding, deltas = BoxHead(4, 8, 6)(torch.zeros(0, 4, 7, 7))
    assert embedding.shape == (0, 6)
    assert deltas.shape == (0, 4)
    assert MaskHead(4)(torch.zeros(0, 4, 14, 14)).shape == (0, 1, 28, 28)


def test_heads__half_precision__scores_and_boxes_in_full():
    """Catches scores, corrections and logits computed in bfloat16 under autocast."""
    head, proposals = BoxHead(4, 8, 6), ProposalHead(4)
    with torch.autocast("cpu", torch.bfloat16):
        embedding, deltas = head(torch.randn(2, 4, 7, 7))
        scores, distances = proposals({name: torch.randn(1, 4, 2, 2) for name in LEVELS})
        logits = cosine_logits(embedding.bfloat16(), torch.randn(3, 6), 0.01)
    assert {t.dtype for t in (embedding, deltas, logits, *scores.values(), *distances.values())} == {torch.float32}


def test_cosine_linear__brute_force__cosine_times_20():
    """Catches the weights normalised along the other axis, and a missing factor."""
    layer, x = CosineLinear(5, 3), torch.randn(4, 5)
    expected = 20 * nn.functional.cosine_similarity(x[:, None], layer.weight[None], dim=-1)
    torch.testing.assert_close(layer(x), expected)


def test_cosine_conv__brute_force__each_tap_normalised_by_itself():
    """Catches kernels normalised over all taps, padding that gets the factor, and a bias that is scaled."""
    layer, x = CosineConv2d(3, 2, 3), torch.randn(1, 3, 4, 5)
    unit, expected = 20 * x / x.norm(dim=1, keepdim=True), torch.zeros(2, 4, 5)
    for row in range(4):
        for column in range(5):
            for a in range(3):
                for b in range(3):
                    y, z = row + a - 1, column + b - 1
                    if 0 <= y < 4 and 0 <= z < 5:
                        tap = layer.weight[:, :, a, b]
                        expected[:, row, column] += (tap / tap.norm(dim=1, keepdim=True)) @ unit[0, :, y, z]
    torch.testing.assert_close(layer(x)[0], expected + layer.bias[:, None, None], rtol=1e-4, atol=1e-4)


def test_channel_norm__any_layout__equals_layer_norm_per_position():
    """Catches statistics over positions, and a result that depends on the layout in memory."""
    norm, x = ChannelNorm(5), torch.randn(2, 5, 3, 4)
    with torch.no_grad():
        norm.weight.normal_()
        norm.bias.normal_()
        mean, spread = x.mean(1, keepdim=True), x.var(1, unbiased=False, keepdim=True)
        expected = (x - mean) / (spread + 1e-6).sqrt() * norm.weight[:, None, None] + norm.bias[:, None, None]
        torch.testing.assert_close(norm(x), expected)
        torch.testing.assert_close(norm(x.contiguous(memory_format=torch.channels_last)), expected)


def test_unit_length__rows__length_one_and_zero_stays():
    """Catches the wrong axis."""
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    torch.testing.assert_close(unit_length(x), torch.tensor([[0.6, 0.8], [0.0, 0.0]]))
    torch.testing.assert_close(unit_length(x, 0), torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
