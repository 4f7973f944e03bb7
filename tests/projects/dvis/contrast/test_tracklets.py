"""Contrast along tracklets (CTVIS) against the reference; rules for objects that come late, leave or are seen once."""

import pytest
import torch

from dense import load_config
from dense.errors import ConfigError
from dense.modeling.matchers import HungarianMatcher
from dense.modeling.predictions import DecoderOutput, MaskPrediction, MaskTargets
from dense.projects.dvis.contrast import TrackletContrast, Tracklets, fused_embeddings
from dense.projects.dvis.contrast.tracklets import LATER_POSITIVES, next_visible, next_visible_published


@pytest.mark.golden
def test_fused_embeddings__tracklet__equal_reference(golden, parity):
    """Catches a fixed momentum, a likeness to the mean instead of the mean likeness, and changes while the object is away."""
    arrays = parity.Arrays(golden("dvis_parts.npz"), "ctvis.tracklet.")
    fused = fused_embeddings(arrays.tensor("embeds").transpose(0, 1), arrays.tensor("present")[None])
    assert arrays.distance("fused", fused[0]) < 1e-6


@pytest.mark.golden
@pytest.mark.parametrize("case", ["plugin", "plugin_no_momentum", "plugin_sensible", "plugin_quirk"])
def test_tracklet_contrast__two_clips__equals_reference(golden, parity, case):
    """Catches another matching, wrong positives or negatives, coins drawn where none is needed, weights, gradients."""
    published = case == "plugin_quirk"
    arrays = parity.Arrays(golden("ctvis_published.npz" if published else "dvis_parts.npz"), f"ctvis.{case}.")
    videos, frames, _, points = arrays["settings"].tolist()
    reid = arrays.tensor("pred_reid_embed").requires_grad_()
    prediction = MaskPrediction(arrays.tensor("pred_logits"), arrays.tensor("pred_masks")[:, :, None])
    output = DecoderOutput([prediction], reid, reid, torch.zeros(1), reid)
    visible, masks = arrays.tensor("visible"), arrays.tensor("target_masks")
    visible = visible.unflatten(0, (1, -1)).expand(videos, -1, -1) if visible.dim() == 2 else visible
    clips = []
    for v in range(videos):
        ids = torch.where(visible[v] > 0, torch.arange(len(visible[v]))[:, None], -1)
        clips.append(MaskTargets(arrays.tensor("labels")[v], masks[v * frames : (v + 1) * frames].transpose(0, 1), ids))
    coins = arrays["coins"].tolist()
    drawn = arrays.tensor("points").unflatten(0, (frames, videos)).transpose(0, 1).flatten(0, 1)  # theirs: frame by frame
    contrast = TrackletContrast(
        matcher=HungarianMatcher(
            class_weight=2.0,
            mask_weight=5.0,
            dice_weight=5.0,
            num_points=points,
            draw=parity.Replay(list(drawn[:, None])),
        ),
        weight=2.0,
        cosine_weight=3.0,
        fused_share=0.5 if arrays["momentum"] else 0.0,
        later_positive=LATER_POSITIVES["published" if published else "next"],
        uniform=lambda: coins.pop(0),
    )
    losses = contrast(output, clips)
    assert not coins
    assert not contrast.matcher.draw.left
    assert losses["loss_reid"].item() == pytest.approx(float(arrays["weighted_loss_reid"]), rel=1e-5)
    assert losses["loss_aux_reid"].item() == pytest.approx(float(arrays["weighted_loss_aux_reid"]), rel=1e-5)
    sum(losses.values()).backward()
    assert arrays.distance("grad", reid.grad) < 1e-5


def build(**options):
    matcher = HungarianMatcher(class_weight=2.0, mask_weight=5.0, dice_weight=5.0, num_points=9)
    return TrackletContrast(matcher=matcher, weight=2.0, cosine_weight=3.0, **options)


def tracklets(visible, queries=6):
    """Objects whose query is their own number in every frame."""
    ids = torch.tensor(visible) - 1  # 0 = visible
    everyone = torch.arange(len(visible))
    return Tracklets.from_matches([(everyone, everyone)] * ids.shape[1], ids, queries)


@pytest.mark.parametrize(
    ("visible", "positive", "negatives"),
    [
        ([1, 1, 0], [0], [5]),  # seen before: the last one; all other queries of the frame before
        ([0, 1, 1], [2, 1], [6, 5]),  # first seen in frame 1: its next one, against every query of frame 0
        ([1, 0, 1], [0], [6]),  # away in the frame before: all its queries
        ([0, 1, 0], [], []),  # seen once: nothing to compare with
        ([1, 0, 0], [], []),
    ],
)
def test_items__one_object__positives_and_negatives(visible, positive, negatives):
    """Catches an object without a second frame that makes an item, and positives from the wrong side."""
    items = build(fused_share=0.0).items(tracklets([visible]), len(visible))
    assert [len(i.negatives) for i in items] == negatives
    assert [i.positives.tolist() for i in items] == [[t * 6] for t in positive]
    assert all(i.anchor not in i.negatives for i in items)
    assert all(set((i.negatives // 6).tolist()) == {i.anchor // 6 - 1} for i in items)  # of the frame before


def test_items__always_fused__rows_after_the_queries():
    """Catches the fused embedding of the frame itself, or of another object."""
    items = build(fused_share=1.0).items(tracklets([[1, 1, 1], [0, 1, 1]]), 3)
    assert [(i.anchor, i.positives.item()) for i in items] == [(6, 18), (7, 13), (12, 19), (13, 22)]


def test_items__more_objects_than_queries__the_unmatched_one_is_skipped():
    """Catches an object without a query read as the last query."""
    matches = [(torch.tensor([0]), torch.tensor([1]))] * 3
    items = build(fused_share=0.0).items(Tracklets.from_matches(matches, torch.zeros(2, 3), 6), 3)
    assert [i.anchor for i in items] == [6, 12]


def test_next_visible_published__as_many_absent_frames_as_the_number_of_the_frame__none():
    """Catches a quirk that is not the published one: object seen in frame 1, absent in one of the later frames."""
    assert next_visible([False, True, False, True, True], 1) == 3
    assert next_visible_published([False, True, False, True, True], 1) is None
    assert next_visible_published([False, True, True, True, True], 1) == 2
    assert next_visible_published([False, True, False, False, False], 1) is None  # absent three times: nothing found
    assert next_visible([False, True], 1) is None


def test_with_strays__absent_object__gets_a_query_of_that_frame_as_positive_only():
    """Catches a stray that becomes an anchor or is taken out of the negatives, and draws for objects that are there."""
    numbers = iter([0.5, 0.0005, 0.99])  # frame 0 absent: no stray; frame 2 absent: stray, the last query
    strayed = tracklets([[0, 1, 0, 1]]).with_strays(0.001, lambda: next(numbers))
    assert strayed.rows == [[-1, 6, 17, 18]]
    items = build(fused_share=0.0).items(strayed, 4)
    assert [(i.anchor, i.positives.item(), len(i.negatives)) for i in items] == [(6, 18, 6), (18, 17, 6)]
    assert not list(numbers)


def test_fused_embeddings__many_objects__each_as_if_alone():
    """Catches objects or absent frames that leak into each other."""
    torch.manual_seed(0)
    embeddings, present = torch.randn(4, 6, 8) + 1, torch.rand(4, 6) < 0.6
    together = fused_embeddings(embeddings, present)
    for i in range(4):
        mean, past = torch.zeros(8), []
        for t in range(6):
            if present[i, t]:
                e = embeddings[i, t]
                share = max(0.0, sum(float(torch.cosine_similarity(p, e, dim=0)) for p in past) / len(past)) if past else 1.0
                mean, past = (1 - share) * mean + share * e, [*past, e]
            assert torch.allclose(together[i, t], mean, atol=1e-5)


def test_tracklet_contrast__no_item__zero_with_graph():
    """Catches NaN or a missing graph when every object is seen once."""
    reid = torch.randn(2, 5, 8, requires_grad=True)
    prediction = MaskPrediction(torch.randn(2, 5, 4), torch.randn(2, 5, 1, 6, 8))
    target = MaskTargets(torch.tensor([1]), torch.zeros(1, 2, 24, 32, dtype=torch.bool), torch.tensor([[3, -1]]))
    losses = build()(DecoderOutput([prediction], reid, reid, torch.zeros(1), reid), [target])
    assert [loss.item() for loss in losses.values()] == [0, 0]
    sum(losses.values()).backward()
    assert not reid.grad.any()


def test_tracklet_contrast__decoder_without_head__is_an_error():
    """Catches a foreign error about None."""
    plain = DecoderOutput([], torch.zeros(1), torch.zeros(1), torch.zeros(1))
    with pytest.raises(ConfigError, match="ReidentifyingDecoder"):
        build()(plain, [])


@pytest.mark.parametrize(("key", "value"), [("NUM_NEGATIVES", 50), ("LATER_POSITIVE", "nxt")])
def test_tracklet_contrast__unusable_key__is_an_error_that_names_it(key, value):
    """Catches a number of negatives that is not what is used, and a key that is silently ignored."""
    with pytest.raises(ConfigError, match=key):
        TrackletContrast(load_config(None, [f"MODEL.CL_PLUGIN.{key}", value]))


def test_tracklet_contrast__config__reads_every_key():
    """Catches a key that is silently ignored."""
    keys = {
        "REID_WEIGHT": 1.5,
        "AUX_REID_WEIGHT": 0.5,
        "MOMENTUM_EMBED": False,
        "NOISE_EMBED": True,
        "LATER_POSITIVE": "published",
    }
    built = TrackletContrast(
        load_config(None, [word for key, value in keys.items() for word in (f"MODEL.CL_PLUGIN.{key}", value)])
    )
    assert built.weights == {"loss_reid": 1.5, "loss_aux_reid": 0.5}
    assert (built.fused_share, built.stray_share) == (0, 0.001)
    assert built.later_positive is next_visible_published
    default = TrackletContrast(load_config())
    assert (default.fused_share, default.stray_share, default.later_positive) == (0.5, 0, next_visible)
