"""Contrastive losses against the reference: the formula, the tracker's items, the refiner's items and memory."""

import math

import numpy as np
import pytest
import torch

from dense.projects.dvis.contrast import (
    ClassMemory,
    ContrastItem,
    MemoryContrast,
    contrastive_losses,
    item_losses,
    reference_items,
    reference_losses,
)


def rows(count, first=0):
    return torch.arange(first, first + count)


def compared(items, bank):
    return torch.cat([bank[torch.cat((i.positives, i.negatives))] @ bank[i.anchor] for i in items])


def check_items(arrays, items, bank):
    """Same items in the same order: their sizes, positives and all dot products."""
    assert len(items) == int(arrays["num_items"])
    assert [len(i.positives) + len(i.negatives) for i in items] == arrays["item_sizes"].tolist()
    assert [len(i.positives) for i in items] == arrays["item_positives"].tolist()
    assert arrays.distance("items_dot", compared(items, bank)) < 1e-5


@pytest.mark.golden
@pytest.mark.parametrize("case", ["one_positive", "three_positives", "large"])
def test_contrastive_losses__one_item__equals_reference(golden, parity, case):
    """Catches a mean over pairs, a temperature, normalised dot products, overflow at large products, wrong gradients."""
    arrays = parity.Arrays(golden("dvis_parts.npz"), f"contrast.{case}.")
    samples, anchor = arrays.tensor("samples").requires_grad_(), arrays.tensor("anchor").requires_grad_()
    count = int(arrays["num_positive"])
    item = ContrastItem(len(samples), rows(count), rows(len(samples) - count, count))
    losses = contrastive_losses([item], torch.cat((samples, anchor)))
    assert losses["loss_reid"].item() == pytest.approx(float(arrays["loss_reid"]), rel=1e-5)
    assert losses["loss_aux_reid"].item() == pytest.approx(float(arrays["loss_aux_reid"]), rel=1e-5)
    sum(losses.values()).backward()
    assert arrays.distance("grad_samples", samples.grad) < 1e-5
    assert arrays.distance("grad_anchor", anchor.grad) < 1e-5


@pytest.mark.golden
@pytest.mark.parametrize("case", ["reference_loss", "reference_loss_one_frame", "reference_loss_no_object"])
def test_reference_items__clip__equal_reference(golden, parity, case):
    """Catches items of the wrong frames or objects, negatives with the positive among them, and a loss without items that
    is NaN or cut off from the graph."""
    arrays = parity.Arrays(golden("dvis_parts.npz"), f"{case}.")
    references = arrays.tensor("references").requires_grad_()
    slots = arrays.tensor("match")[0]
    items = reference_items(*references.shape[:2], slots)
    if items:
        check_items(arrays, items, references.flatten(0, 1))
    assert len(items) == int(arrays["num_items"])
    losses = reference_losses(references, slots)
    assert losses["loss_reid"].item() == pytest.approx(float(arrays["loss_reid"]), rel=1e-5)
    assert losses["loss_aux_reid"].item() == pytest.approx(float(arrays["loss_aux_reid"]), rel=1e-5)
    losses["loss_reid"].backward()
    assert arrays.distance("grad", references.grad) < 1e-5


@pytest.mark.golden
def test_memory_contrast__three_steps__items_losses_and_memory_equal_reference(golden, parity):
    """Catches the current video among its own negatives, memory of another class, and another rule of forgetting."""
    arrays = parity.Arrays(golden("dvis_parts.npz"), "memory_loss.")
    shuffles = [arrays.tensor(f"shuffle{i}") for i in range(5)]

    def permute(count):
        order = shuffles.pop(0)
        assert len(order) == count
        return order

    contrast = MemoryContrast(ClassMemory(int(arrays["max_len"]), permute))
    for number in range(3):
        step = parity.Arrays(arrays.path, f"memory_loss.step{number}.")
        embeddings = step.tensor("embds").requires_grad_()
        slots, objects = step.tensor("match")
        clip, labels = embeddings[0].permute(1, 2, 0), step.tensor("labels")[objects]
        check_items(step, *contrast.items(clip, slots, labels))
        losses = contrast(clip, slots, labels)
        assert losses["loss_reid"].item() == pytest.approx(float(step["loss_reid"]), rel=1e-5)
        assert losses["loss_aux_reid"].item() == pytest.approx(float(step["loss_aux_reid"]), rel=1e-5)
        losses["loss_reid"].backward()
        assert step.distance("grad", embeddings.grad) < 1e-5
        assert 5 - len(shuffles) == int(step["num_shuffles_so_far"])
        stored = {f"memory_after.class{label}": kept for label, kept in contrast.memory.stored.items()}
        assert sorted(stored) == sorted(name for name in step.values if name.startswith("memory_after"))
        for name, kept in stored.items():
            assert step.distance(name, kept) < 1e-6
            assert not kept.requires_grad


def test_contrastive_losses__one_positive__is_cross_entropy():
    """Catches a formula that is not the softmax loss when there is one positive."""
    torch.manual_seed(0)
    bank = torch.randn(6, 8)
    expected = torch.nn.functional.cross_entropy((bank[1:] @ bank[0])[None], torch.tensor([0]))
    loss = contrastive_losses([ContrastItem(0, rows(1, 1), rows(4, 2))], bank)["loss_reid"]
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_item_losses__random_items__equal_the_written_out_sums():
    """Catches rows of one item that leak into another, and a mean over the bank instead of over the item's own rows."""
    torch.manual_seed(1)
    bank = torch.randn(9, 4, dtype=torch.float64)
    shuffles = [torch.randperm(9) for _ in range(5)]
    items = [ContrastItem(int(s[0]), s[1 : 2 + i % 3], s[5 : 7 + i % 2]) for i, s in enumerate(shuffles)]
    losses = item_losses(items, bank)
    for item, contrast, cosine in zip(items, losses.contrast, losses.cosine, strict=True):
        a, p, n = bank[item.anchor], bank[item.positives], bank[item.negatives]
        expected = math.log(1 + sum(math.exp(float(x @ a) - float(y @ a)) for x in n for y in p))
        assert contrast.item() == pytest.approx(expected, rel=1e-5)
        errors = [(float(torch.cosine_similarity(x, a, dim=0)) - 1) ** 2 for x in p]
        errors += [float(torch.cosine_similarity(x, a, dim=0)) ** 2 for x in n]
        assert cosine.item() == pytest.approx(sum(errors) / len(errors), rel=1e-5)


def test_item_losses__no_negative_and_zero_rows__finite_gradients():
    """Catches NaN from a logarithm of nothing, and from the direction of an embedding that is zero."""
    bank = torch.randn(4, 3).index_fill(0, torch.tensor([3]), 0.0).requires_grad_()
    losses = contrastive_losses([ContrastItem(0, rows(1, 1), rows(0))], bank)
    assert losses["loss_reid"].item() == 0
    sum(losses.values()).backward()
    assert torch.isfinite(bank.grad).all()


def test_contrastive_losses__half_precision_products_of_thousands__stay_finite():
    """Catches an exponential that overflows."""
    anchor = torch.full((8,), 60.0, dtype=torch.float16)
    loss = contrastive_losses([ContrastItem(0, rows(1, 1), rows(1, 0))], torch.stack((anchor, -anchor)))["loss_reid"]
    assert math.isfinite(loss.item())
    assert loss.item() == pytest.approx(2 * 8 * 3600, rel=1e-3)


def test_class_memory__many_videos__keeps_the_limit_of_stored_rows():
    """Catches a memory that grows, or keeps rows that were never pushed."""
    torch.manual_seed(0)
    memory, pushed = ClassMemory(limit=20), torch.randn(90, 4)
    for part in pushed.split(9):
        memory.push(2, part)
        memory.trim()
    kept = memory.get(2)
    assert kept.shape == (20, 4)
    assert all(np.isclose(pushed.numpy(), row.numpy()).all(1).any() for row in kept)
    assert memory.get(0) is None
