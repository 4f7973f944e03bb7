"""Referring tracker against the reference: outputs, state, noise, gradients; windows; errors."""

import pytest
import torch

from dense.errors import ConfigError, NonFiniteError
from dense.layers import LayerSettings
from dense.projects.dvis.trackers import CropConcatenate, NoNoise, RandomShuffle, ReferringTracker, WeightedAverage

TRAINING = {"none": NoNoise, "rs": RandomShuffle, "wa": WeightedAverage, "cc": CropConcatenate, "wa_half": WeightedAverage}


def frames_first(x):
    """The reference's ``(1, C, T, Q)`` → ``(T, Q, C)``."""
    return x[0].permute(1, 2, 0)


def theirs(x):
    """``(T, Q, C)`` → the reference's ``(1, C, T, Q)``."""
    return x.permute(2, 0, 1)[None].contiguous()


def their_masks(masks):
    """``(T, Q, 1, h, w)`` → the reference's ``(1, Q, T, h, w)``."""
    return masks.permute(2, 1, 0, 3, 4).contiguous()


def build(parity, arrays, noiser=None):
    width, hidden, heads, layers, mask_width, classes = arrays["config"].tolist()
    tracker = ReferringTracker(
        width=width,
        mask_width=mask_width,
        num_classes=classes,
        layers=LayerSettings(layers, heads, hidden),
        noiser=noiser or NoNoise(ratio=1.0),
    )
    return parity.load_filled(tracker, "tracker.")


def inputs(arrays):
    return (
        frames_first(arrays.tensor("embeds"))[None],
        frames_first(arrays.tensor("embeds_no_norm"))[None],
        arrays.tensor("mask_features"),
    )


@pytest.fixture
def arrays(golden, parity):
    return parity.Arrays(golden("dvis_parts.npz"), "tracker.")


@pytest.mark.golden
def test_tracker__evaluation__equals_reference(parity, arrays):
    """Catches the reference as residual, keys from normalised embeddings, first-frame references of the wrong state, the
    order of the two halves before the classifier, mask features without projection."""
    tracker = build(parity, arrays).eval()
    with torch.no_grad():
        tracked, state = tracker(*inputs(arrays))
    assert len(tracked.predictions) == 1
    assert arrays.distance("eval.pred_logits", tracked.final.logits[None]) < 1e-4
    assert arrays.distance("eval.pred_masks", their_masks(tracked.final.masks)) < 1e-4
    assert arrays.distance("eval.pred_embds", theirs(tracked.embeddings[0])) < 1e-4
    assert arrays.distance("eval.pred_references", theirs(tracked.references[0])) < 1e-4
    assert tracked.order[0].tolist() == arrays["eval.indices"].tolist()
    assert arrays.distance("eval.state.last_output", state.last[0][:, None]) < 1e-4
    assert arrays.distance("eval.state.matching_reference", state.matching[0][:, None]) < 1e-4
    assert arrays.distance("eval.state.reference", tracked.references[0, -1][:, None]) < 1e-4


@pytest.mark.golden
def test_tracker__two_windows__state_equals_reference(parity, arrays):
    """Catches a state that is not carried, or carried from the wrong layer."""
    tracker = build(parity, arrays).eval()
    cut = int(arrays["window_cut"])
    with torch.no_grad():
        _, first = tracker(*(x[:, :cut] for x in inputs(arrays)))
        _, second = tracker(*(x[:, cut:] for x in inputs(arrays)), first)
    for name, state in (("window0", first), ("window1", second)):
        assert arrays.distance(f"{name}.state.last_output", state.last[0][:, None]) < 1e-4
        assert arrays.distance(f"{name}.state.matching_reference", state.matching[0][:, None]) < 1e-4


@pytest.mark.golden
def test_tracker__normalised_embeddings_only__equals_reference(parity, arrays):
    """Catches values taken from elsewhere than the given ones."""
    tracker = build(parity, arrays).eval()
    embeddings, _, mask_features = inputs(arrays)
    with torch.no_grad():
        tracked, _ = tracker(embeddings, embeddings, mask_features)
    assert arrays.distance("eval_one_input.pred_logits", tracked.final.logits[None]) < 1e-4
    assert arrays.distance("eval_one_input.pred_masks", their_masks(tracked.final.masks)) < 1e-4


@pytest.mark.golden
@pytest.mark.parametrize("mode", list(TRAINING))
def test_tracker__training__equals_reference(parity, arrays, replayed, mode):
    """Catches noise on keys or references, an index that does not lead the next matching, missing auxiliary layers."""
    stored = parity.Arrays(arrays.path, f"tracker.train_{mode}.")
    draws = replayed(stored)
    ratio = 0.5 if mode == "wa_half" else 1.0
    tracker = build(parity, arrays, TRAINING[mode](ratio=ratio, draws=draws)).train()
    tracked, _ = tracker(*inputs(arrays))
    assert not draws.left
    assert tracked.order[0].tolist() == stored["indices"].tolist()
    assert stored.distance("pred_logits", tracked.final.logits[None]) < 1e-4
    assert stored.distance("pred_references", theirs(tracked.references[0])) < 1e-4
    assert len(tracked.predictions) == 6
    for name in [name for name in stored.values if name.startswith("aux")]:
        prediction = tracked.predictions[int(name[3])]
        given = prediction.logits[None] if name.endswith("logits") else their_masks(prediction.masks)
        assert stored.distance(name, given) < 1e-4


@pytest.mark.golden
def test_tracker__training_with_noise__gradients_equal_reference(parity, arrays, replayed):
    """Catches gradients that are cut in time or before the mask features, and any into the normalised embeddings."""
    stored = parity.Arrays(arrays.path, "tracker.train_wa.")
    tracker = build(parity, arrays, WeightedAverage(ratio=1.0, draws=replayed(stored))).train()
    embeddings, values, mask_features = (x.requires_grad_() for x in inputs(arrays))
    tracked, _ = tracker(embeddings, values, mask_features)
    total = (tracked.final.masks * stored.tensor("g_masks")[0].transpose(0, 1)[:, :, None]).sum()
    total = total + (tracked.references[0] * frames_first(stored.tensor("g_references"))).sum()
    total = total + sum((p.logits * g[0]).sum() for p, g in zip(tracked.predictions, stored.tensor("g_logits"), strict=True))
    total = 0.01 * total
    assert total.item() == pytest.approx(float(stored["total"]), rel=1e-3)
    total.backward()
    assert embeddings.grad is None
    assert stored.distance("grad.embeds_no_norm", theirs(values.grad[0])) < 1e-3
    assert stored.distance("grad.mask_features", mask_features.grad) < 1e-3
    own = dict(tracker.named_parameters())
    names = [name.removeprefix("grad_param.") for name in stored.values if name.startswith("grad_param.")]
    assert len(names) > 60
    for name in names:
        assert stored.distance(f"grad_param.{name}", own[name].grad) < 1e-3, name


def small(noiser=None):
    torch.manual_seed(1)
    return ReferringTracker(
        width=16, mask_width=8, num_classes=3, layers=LayerSettings(2, 4, 32), noiser=noiser or NoNoise(ratio=1.0)
    ).eval()


@pytest.mark.parametrize("window", [1, 2, 3, 7])
def test_tracker__window_by_window__equals_the_whole_clip(window):
    """Catches a result that depends on the size of the window, or a given state that is changed."""
    tracker, clip = small(), (torch.randn(1, 7, 5, 16), torch.randn(1, 7, 5, 16), torch.randn(1, 7, 8, 4, 6))
    with torch.no_grad():
        whole, end = tracker(*clip)
        state, parts = None, []
        for first in range(0, 7, window):
            before = None if state is None else state.last.clone()
            tracked, after = tracker(*(x[:, first : first + window] for x in clip), state)
            assert before is None or torch.equal(state.last, before)
            parts.append(tracked)
            state = after
    assert torch.allclose(torch.cat([p.final.logits for p in parts]), whole.final.logits, atol=1e-5)
    assert torch.allclose(torch.cat([p.final.masks for p in parts]), whole.final.masks, atol=1e-5)
    assert torch.equal(torch.cat([p.order for p in parts], dim=1), whole.order)
    assert torch.allclose(state.last, end.last, atol=1e-5)


def test_tracker__without_state__starts_again():
    """Catches anything of the last video left in the module."""
    tracker, clip = small(), (torch.randn(1, 3, 5, 16), torch.randn(1, 3, 5, 16), torch.randn(1, 3, 8, 4, 6))
    with torch.no_grad():
        first, _ = tracker(*clip)
        tracker(*(torch.randn_like(x) for x in clip))
        again, _ = tracker(*clip)
    assert torch.equal(first.final.logits, again.final.logits)


def test_tracker__queries_shuffled_per_frame__objects_keep_their_slots():
    """Catches an order that follows the segmenter's queries instead of the objects."""
    torch.manual_seed(2)
    tracker, base = small(), torch.randn(5, 16)
    shuffles = [torch.arange(5), *[torch.randperm(5) for _ in range(3)]]
    embeddings = torch.stack([base[s] for s in shuffles])[None]
    with torch.no_grad():
        tracked, _ = tracker(embeddings, embeddings, torch.randn(1, 4, 8, 4, 6))
    assert all(torch.equal(s[order], torch.arange(5)) for s, order in zip(shuffles, tracked.order[0], strict=True))


def test_tracker__other_width__is_an_error_that_names_the_key():
    """Catches a foreign error about matrix shapes when the re-identification half is missing."""
    with pytest.raises(ConfigError, match="REID_BRANCH"):
        small()(torch.randn(1, 2, 5, 8), torch.randn(1, 2, 5, 8), torch.randn(1, 2, 8, 4, 6))


def test_tracker__nan_embedding__is_an_error():
    """Catches an arbitrary match of broken outputs."""
    embeddings = torch.randn(1, 2, 5, 16)
    embeddings[0, 1, 2] = float("nan")
    with pytest.raises(NonFiniteError):
        small()(embeddings, embeddings, torch.randn(1, 2, 8, 4, 6))


def test_tracker__zero_embedding__is_allowed():
    """Catches a division by zero for a query without any feature."""
    embeddings = torch.randn(1, 2, 5, 16)
    embeddings[0, 1, 2] = 0
    tracked, _ = small()(embeddings, embeddings, torch.randn(1, 2, 8, 4, 6))
    assert torch.isfinite(tracked.final.logits).all()
