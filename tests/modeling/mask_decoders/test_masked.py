"""Masked decoder against the reference's numbers, and the rule of its attention masks."""

import pytest
import torch

from dense.layers import LayerSettings
from dense.modeling.mask_decoders.masked import MaskedDecoder, _blocked


def build(arrays):
    inputs, width, pre_norm, project, _, queries = (int(v) for v in arrays["config"])
    return MaskedDecoder(
        in_channels=inputs,
        num_classes=6,
        width=width,
        queries=queries,
        mask_width=48,
        layers=LayerSettings(count=9, heads=8, hidden=128, pre_norm=bool(pre_norm)),
        enforce_input_projection=bool(project),
    ).eval()


@pytest.mark.golden
@pytest.mark.parametrize("kind", ["post", "pre", "proj"])
def test_masked_decoder__reference_weights__all_predictions_equal_reference(golden, parity, kind):
    """Catches a wrong order of attention and norm, level embeddings in the positions, masks of the wrong level."""
    arrays = parity.Arrays(golden("mask2former.npz"), f"td.{kind}.")
    decoder = parity.load_filled(build(arrays), "sem_seg_head.predictor.")
    with torch.no_grad():
        output = decoder([arrays.tensor(f"in.{i}") for i in range(3)], arrays.tensor("mask_features"))
    assert len(output.predictions) == 10
    assert arrays.distance("logits", torch.stack([p.logits for p in output.predictions])) < 1e-4
    assert arrays.distance("masks", torch.stack([p.masks[:, :, 0] for p in output.predictions])) < 1e-4
    assert torch.equal(output.embeddings, decoder.decoder_norm(output.embeddings_without_norm))
    assert torch.equal(output.final.logits, decoder.class_embed(output.embeddings))


@pytest.mark.golden
@pytest.mark.parametrize("kind", ["post", "pre", "proj"])
def test_masked_decoder__reference_weights__all_blocked_rule_fires_as_often(golden, parity, kind):
    """Catches a rule that opens a row too often or never: the reference's count per prediction, times 8 heads, is stored."""
    arrays = parity.Arrays(golden("mask2former.npz"), f"td.{kind}.")
    decoder = parity.load_filled(build(arrays), "sem_seg_head.predictor.")
    levels = [arrays.tensor(f"in.{i}") for i in range(3)]
    with torch.no_grad():
        output = decoder(levels, arrays.tensor("mask_features"))
    counts = []
    for i, prediction in enumerate(output.predictions):
        resized = torch.nn.functional.interpolate(prediction.masks[:, :, 0], size=levels[i % 3].shape[-2:], mode="bilinear")
        counts.append(8 * int((resized < 0).flatten(2).all(-1).sum()))
        blocked = _blocked(prediction.masks[:, :, 0], levels[i % 3].shape[-2:])
        assert not blocked.all(-1).any()
    assert counts == arrays["rows_all_blocked"].tolist()


def test_masked_decoder__logit_zero__is_not_blocked():
    """Catches ``<=`` in the threshold: a logit of exactly zero may be attended, one below may not."""
    masks = torch.tensor([[[[0.0, -1.0], [1.0, -2.0]], [[-1.0, -1.0], [-1.0, -1.0]]]])
    blocked = _blocked(masks, torch.Size((2, 2)))
    assert blocked[0, 0].tolist() == [False, True, False, True]
    assert blocked[0, 1].tolist() == [False] * 4  # would see nothing: sees everything


def test_masked_decoder__attention_masks__carry_no_gradient():
    """Catches a threshold that keeps a graph: gradients of mask features come from the predictions alone."""
    masks = torch.randn(1, 2, 4, 4, requires_grad=True)
    assert not _blocked(masks, torch.Size((2, 2))).requires_grad


def test_masked_decoder__images_of_a_batch__do_not_mix():
    """Catches attention masks repeated in another order than batch first, then head."""
    torch.manual_seed(3)
    decoder = MaskedDecoder(
        in_channels=16, num_classes=3, width=16, queries=5, mask_width=8, layers=LayerSettings(count=3, heads=4, hidden=32)
    ).eval()
    levels = [torch.randn(3, 16, s, s) for s in (2, 3, 5)]
    features = torch.randn(3, 8, 10, 10)
    with torch.no_grad():
        together = decoder(levels, features).final
        for b in range(3):
            alone = decoder([level[b : b + 1] for level in levels], features[b : b + 1]).final
            assert torch.allclose(alone.logits[0], together.logits[b], atol=1e-5)
            assert torch.allclose(alone.masks[0], together.masks[b], atol=1e-5)


def test_masked_decoder__same_width__has_no_input_projection():
    """Catches extra keys that official checkpoints do not have."""
    settings = LayerSettings(count=1, heads=2, hidden=8)
    plain = MaskedDecoder(in_channels=8, num_classes=2, width=8, queries=2, mask_width=4, layers=settings)
    assert not [k for k in plain.state_dict() if k.startswith("input_proj")]
    other = MaskedDecoder(in_channels=6, num_classes=2, width=8, queries=2, mask_width=4, layers=settings)
    assert other.state_dict()["input_proj.2.weight"].shape == (8, 6, 1, 1)
