"""Temporal refiner against the reference: outputs, windows, gradients; what must not depend on what."""

import pytest
import torch

from dense.layers import LayerSettings
from dense.projects.dvis.refiners import TemporalRefiner

INPUTS = ("instance_embeds", "frame_embeds", "mask_features")


def ours(name, x):
    """The reference's ``(B, C, T, Q)`` → ``(B, T, Q, C)``; mask features stay."""
    return x if name == "mask_features" else x.permute(0, 2, 3, 1)


def theirs(name, x):
    return x if name == "mask_features" else x.permute(0, 3, 1, 2).contiguous()


def build(parity, arrays, window=5):
    width, hidden, heads, layers, mask_width, classes = arrays["config"].tolist()
    refiner = TemporalRefiner(
        width=width, mask_width=mask_width, num_classes=classes, layers=LayerSettings(layers, heads, hidden), window=window
    )
    return parity.load_filled(refiner, "refiner.")


def repeated(logits, frames):
    """The reference repeats the video's logits for every frame."""
    return logits[:, None].expand(-1, frames, -1, -1)


@pytest.fixture
def arrays(golden, parity):
    return parity.Arrays(golden("dvis_parts.npz"), "refiner.")


@pytest.mark.golden
@pytest.mark.parametrize(
    ("case", "window", "frames"), [("window5", 5, 7), ("window3", 3, 7), ("one_frame", 5, 1), ("two_frames", 5, 2)]
)
def test_refiner__evaluation__equals_reference(parity, arrays, case, window, frames):
    """Catches another order of the five steps, zero padding in time, memory of another order, frames lost between windows."""
    refiner = build(parity, arrays, window).eval()
    with torch.no_grad():
        refined = refiner(*(ours(name, arrays.tensor(name))[:1, :frames] for name in INPUTS))
    compared = [name for name in arrays.values if name.startswith(f"eval_{case}.")]
    assert f"eval_{case}.pred_masks" in compared
    given = {
        "pred_logits": repeated(refined.final.logits, frames),
        "pred_masks": refined.final.masks,
        "pred_embds": theirs("", refined.embeddings),
    }
    for name in compared:
        assert arrays.distance(name, given[name.partition(".")[2]]) < 1e-4, name


@pytest.mark.golden
def test_refiner__training_two_videos__outputs_and_gradients_equal_reference(parity, arrays):
    """Catches videos of a batch that mix, missing auxiliary layers and wrong gradients."""
    refiner = build(parity, arrays).train()
    given = {name: ours(name, arrays.tensor(name)).requires_grad_() for name in INPUTS}
    refined = refiner(*given.values())
    stored = parity.Arrays(arrays.path, "refiner.train.")
    frames = 7
    assert stored.distance("pred_logits", repeated(refined.final.logits, frames)) < 1e-4
    assert stored.distance("pred_masks", refined.final.masks) < 1e-4
    assert stored.distance("pred_embds", theirs("", refined.embeddings)) < 1e-4
    assert len(refined.predictions) == 6
    for i, prediction in enumerate(refined.predictions[:-1]):
        assert stored.distance(f"aux{i}.pred_logits", repeated(prediction.logits, frames)) < 1e-4
    for i in (0, 4):
        assert stored.distance(f"aux{i}.pred_masks", refined.predictions[i].masks) < 1e-4
    logits = sum(
        (repeated(p.logits, frames) * g).sum() for p, g in zip(refined.predictions, stored.tensor("g_logits"), strict=True)
    )
    masks = (refined.final.masks * stored.tensor("g_masks")).sum()
    total = 0.01 * (logits + masks + (refined.embeddings * ours("", stored.tensor("g_embds"))).sum())
    assert total.item() == pytest.approx(float(stored["total"]), rel=1e-3)
    total.backward()
    for name, tensor in given.items():
        assert stored.distance(f"grad.{name}", theirs(name, tensor.grad)) < 1e-3, name
    own = dict(refiner.named_parameters())
    names = [name.removeprefix("grad_param.") for name in stored.values if name.startswith("grad_param.")]
    assert len(names) > 80
    for name in names:
        assert stored.distance(f"grad_param.{name}", own[name].grad) < 1e-3, name


def small(window=3):
    torch.manual_seed(0)
    return TemporalRefiner(width=16, mask_width=8, num_classes=3, layers=LayerSettings(2, 4, 32), window=window).eval()


def clip(frames=5, batch=1):
    torch.manual_seed(1)
    return torch.randn(batch, frames, 4, 16), torch.randn(batch, frames, 4, 16), torch.randn(batch, frames, 8, 4, 6)


@pytest.mark.parametrize("window", [1, 2, 4, 9])
def test_refiner__window__changes_nothing(window):
    """Catches frames dropped or doubled where windows meet, and classes fused inside a window."""
    with torch.no_grad():
        a, b = small(window)(*clip()), small(5)(*clip())
    assert torch.allclose(a.final.masks, b.final.masks, atol=1e-6)
    assert torch.equal(a.final.logits, b.final.logits)


def test_refiner__last_frame_changed__classes_and_first_masks_change():
    """Catches frames that do not hear of each other: the long-term attention reaches every frame."""
    objects, queries, features = clip()
    other = objects.clone()
    other[:, -1] += 1
    with torch.no_grad():
        a, b = small()(objects, queries, features), small()(other, queries, features)
    assert (a.final.masks[:, :, 0] - b.final.masks[:, :, 0]).abs().max() > 1e-3
    assert not torch.allclose(a.final.logits, b.final.logits)


def test_refiner__queries_of_a_frame_permuted__nothing_changes():
    """Catches a memory paired with objects by position: cross-attention must not know the segmenter's order."""
    objects, queries, features = clip()
    shuffled = queries.clone()
    shuffled[:, 2] = queries[:, 2][:, torch.randperm(4)]
    with torch.no_grad():
        a, b = small()(objects, queries, features), small()(objects, shuffled, features)
    assert torch.allclose(a.final.masks, b.final.masks, atol=1e-5)


def test_refiner__evaluation__masks_are_float32_on_the_cpu():
    """Catches masks of a whole video that stay in half precision or on the accelerator."""
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        masks = small()(*clip()).final.masks
    assert masks.dtype == torch.float32
    assert masks.device.type == "cpu"
