"""Pixel losses: golden values and gradients, the formulas written plainly, extremes."""

import pytest
import torch
import torch.nn.functional as F

from dense.projects.pixpro.losses import consistency, pixel_contrast, unit_rows
from dense.projects.pixpro.pairs import pair_tables

CASES = range(5)
BLOCKS = [1, 9, 10_000]


def load(arrays, case):
    """Maps that take gradients, and their pairs."""
    group = f"pair{case}"
    arrays.need(group)
    maps = [arrays.tensor(f"{group}.{name}").requires_grad_() for name in "qk"]
    size = tuple(arrays[f"{group}.hw"].tolist())
    coords = [arrays.tensor(f"{group}.coord_{name}") for name in "qk"]
    return group, *maps, pair_tables(*coords, size, size, float(arrays[f"{group}.ratio"]))


def rows(maps):
    return maps.flatten(2).mT


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("case", CASES)
def test_consistency__golden_maps__same_loss_and_gradients(arrays, case, block):
    """Catches the factor 2, the mean over all images, images without pairs, and a gradient that forgets a block."""
    group, q, k, pairs = load(arrays, case)
    loss = consistency(rows(q), rows(k), pairs, block)
    loss.backward()
    arrays.close(f"{group}.loss_raw", loss, 1e-5)
    arrays.close(f"{group}.grad_q_raw", q.grad, 1e-5)
    arrays.close(f"{group}.grad_k_raw", k.grad, 1e-5)
    q.grad = k.grad = None
    loss = consistency(unit_rows(q), unit_rows(k), pairs, block)
    loss.backward()
    arrays.close(f"{group}.loss_cos", loss, 1e-5)
    arrays.close(f"{group}.grad_q_cos", q.grad, 1e-5)
    arrays.close(f"{group}.grad_k_cos", k.grad, 1e-5)


@pytest.mark.parametrize("case", CASES)
def test_consistency__each_image_alone__golden_values(arrays, case):
    """Catches a normaliser that is shared by the images of a batch."""
    group, q, k, _ = load(arrays, case)
    size = tuple(arrays[f"{group}.hw"].tolist())
    coords = [arrays.tensor(f"{group}.coord_{name}") for name in "qk"]
    for n in range(len(q)):
        pairs = pair_tables(coords[0][n : n + 1], coords[1][n : n + 1], size, size, float(arrays[f"{group}.ratio"]))
        loss = consistency(unit_rows(q[n : n + 1]), unit_rows(k[n : n + 1]), pairs)
        assert abs(float(loss.detach()) - float(arrays[f"{group}.loss_cos_per_image"][n])) < 1e-5


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("temperature", [0.3, 0.07])
@pytest.mark.parametrize("case", CASES)
def test_pixel_contrast__golden_maps__same_loss_and_gradients(arrays, case, temperature, block):
    """Catches negatives of other images, positions without a positive, and a mean over all positions."""
    group, q, k, pairs = load(arrays, case)
    loss = pixel_contrast(unit_rows(q), unit_rows(k), pairs, temperature, block)
    loss.backward()
    name = f"{group}.pixcontrast_tau{temperature}"
    arrays.close(f"{name}.loss", loss, 1e-5)
    arrays.close(f"{name}.grad_q", q.grad, 1e-5)
    arrays.close(f"{name}.grad_k", k.grad, 1e-5)


@pytest.mark.parametrize("kind", ["consistency", "contrast"])
def test_losses__float64__gradients_are_those_of_the_plain_formula(kind):
    """Catches gradients that only look right in float32."""
    generator = torch.Generator().manual_seed(2)
    query = torch.randn(3, 6, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    key = torch.randn(3, 6, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    coords = torch.tensor([[0.0, 0.0, 0.6, 0.7], [0.0, 0.0, 0.1, 0.1], [0.7, 0.1, 0.2, 0.9]], dtype=torch.float64)
    others = torch.tensor([[0.2, 0.1, 0.9, 0.8], [0.8, 0.8, 1.0, 1.0], [0.1, 0.0, 0.8, 0.8]], dtype=torch.float64)
    pairs = pair_tables(coords, others, (2, 3), (2, 3), 0.9)
    mask = pairs.mask(0, 2)
    assert mask.any((1, 2)).tolist() == [True, False, True]
    similarity = query @ key.mT
    if kind == "consistency":
        loss = consistency(query, key, pairs, 3)
        plain = (-2 * (similarity * mask).sum((1, 2)) / (mask.sum((1, 2)).double() + 1e-6)).mean()
    else:
        loss, logits, total = pixel_contrast(query, key, pairs, 0.5, 3), similarity / 0.5, []
        for n in range(3):
            found = mask[n].any(1)
            terms = [logits[n, i].exp().sum().log() - logits[n, i][mask[n, i]].exp().sum().log() for i in found.nonzero()[:, 0]]
            total.append(torch.stack(terms).mean() if terms else torch.zeros((), dtype=torch.float64))
        plain = torch.stack(total).mean()
    torch.testing.assert_close(loss, plain, rtol=1e-12, atol=1e-12)
    ours, expected = (torch.autograd.grad(value * 3, (query, key), retain_graph=True) for value in (loss, plain))
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", ["consistency", "contrast"])
def test_losses__disjoint_crops__zero_without_nan(kind):
    """Catches NaN or a gradient where no pair is positive."""
    left, right = torch.tensor([[0.0, 0.0, 0.3, 0.3]]), torch.tensor([[0.7, 0.7, 1.0, 1.0]])
    pairs = pair_tables(left, right, (3, 3), (3, 3), 0.7)
    maps = [torch.randn(1, 4, 3, 3, requires_grad=True) for _ in range(2)]
    units = [unit_rows(m) for m in maps]
    loss = consistency(*units, pairs) if kind == "consistency" else pixel_contrast(*units, pairs, 0.07)
    loss.backward()
    assert float(loss.detach()) == 0
    assert all(float(m.grad.abs().max()) == 0 for m in maps)


@pytest.mark.parametrize("kind", ["consistency", "contrast"])
def test_losses__autocast__sums_in_float32(kind):
    """Catches similarities or sums in half precision."""
    maps = [torch.randn(2, 8, 5, 5).bfloat16() for _ in range(2)]
    coords = torch.tensor([[0.0, 0.0, 0.8, 0.8], [0.9, 0.1, 0.3, 0.8]])
    pairs = pair_tables(coords, coords.flip(0), (5, 5), (5, 5), 0.7)

    def loss():
        units = [unit_rows(m) for m in maps]
        return consistency(*units, pairs) if kind == "consistency" else pixel_contrast(*units, pairs, 0.07)

    expected = loss()
    with torch.autocast("cpu", torch.bfloat16):
        actual = loss()
    assert actual.dtype == torch.float32
    assert torch.equal(actual, expected)


def test_unit_rows__channels_last_and_zeros__rows_in_reading_order():
    """Catches positions taken column by column, and NaN from a position without a feature."""
    maps = torch.randn(2, 5, 3, 4)
    maps[0, :, 1, 2] = 0
    units = unit_rows(maps.to(memory_format=torch.channels_last))
    torch.testing.assert_close(units[1, 1 * 4 + 2], F.normalize(maps[1, :, 1, 2], dim=0))
    assert float(units[0, 1 * 4 + 2].abs().max()) == 0
