"""Positive pairs: golden masks, and what must hold for any crops (spec, sections 6 and 21.4)."""

import numpy as np
import pytest
import torch

from dense.projects.pixpro.pairs import bin_centres, pair_tables

WHOLE = torch.tensor([[0.0, 0.0, 1.0, 1.0]])


def mask_of(query, key, size, threshold):
    pairs = pair_tables(query, key, size, size, threshold)
    return torch.cat([mask for _, mask in pairs.blocks(10)], 1)


def brute_force(query, key, size, threshold):
    """The formula of section 6, one pair of positions after the other, in float64."""
    out = np.zeros((len(query), size[0] * size[1], size[0] * size[1]), bool)
    for n, (q, k) in enumerate(zip(query.double().numpy(), key.double().numpy(), strict=True)):
        bins = [((c[2] - c[0]) / size[1], (c[3] - c[1]) / size[0]) for c in (q, k)]
        diagonal = max(np.hypot(*b) for b in bins)
        centres = [
            [(c[0] + (a + 0.5) * b[0], c[1] + (r + 0.5) * b[1]) for r in range(size[0]) for a in range(size[1])]
            for c, b in zip((q, k), bins, strict=True)
        ]
        for i, (x, y) in enumerate(centres[0]):
            for j, (u, v) in enumerate(centres[1]):
                out[n, i, j] = np.hypot(x - u, y - v) / diagonal < threshold
    return out


@pytest.mark.parametrize("case", range(5))
def test_pair_tables__golden_pairs__same_masks(arrays, case):
    """Catches unsigned widths of flipped views, the smaller diagonal, ≤ for <, rows and columns exchanged."""
    group = f"pair{case}"
    arrays.need(group)
    size, ratio = tuple(arrays[f"{group}.hw"].tolist()), float(arrays[f"{group}.ratio"])
    query, key = arrays.tensor(f"{group}.coord_q"), arrays.tensor(f"{group}.coord_k")
    shape = tuple(arrays[f"{group}.mask_shape"])
    expected = np.unpackbits(arrays[f"{group}.mask_packed"])[: np.prod(shape)].reshape(shape).astype(bool)
    np.testing.assert_array_equal(mask_of(query, key, size, ratio).numpy(), expected)
    counts = pair_tables(query, key, size, size, ratio).counts(3)
    np.testing.assert_array_equal(counts.numpy(), arrays[f"{group}.positives"])


def test_pair_tables__random_crops_and_flips__equal_brute_force():
    """Catches tables that are right for the golden sizes only; other sizes of query and key go through the transpose."""
    generator = torch.Generator().manual_seed(5)
    query, key = torch.rand(2, 6, 4, generator=generator).unbind(0)  # about half of them flipped, in x or y
    np.testing.assert_array_equal(mask_of(query, key, (3, 5), 0.9).numpy(), brute_force(query, key, (3, 5), 0.9))
    there, back = pair_tables(query, key, (3, 5), (3, 5), 0.9), pair_tables(key, query, (3, 5), (3, 5), 0.9)
    assert torch.equal(there.transposed().mask(0, 3), back.mask(0, 3))
    assert torch.equal(there.transposed().mask(0, 3), there.mask(0, 3).mT)


def test_pair_tables__identical_square_crops__identity_then_everything():
    """Catches a threshold in other units than the bin diagonal: the nearest neighbour is at 1/√2."""
    assert torch.equal(mask_of(WHOLE, WHOLE, (7, 7), 0.7)[0], torch.eye(49, dtype=torch.bool))
    assert mask_of(WHOLE, WHOLE, (7, 7), 0.71).sum() > 49
    assert mask_of(WHOLE, WHOLE, (7, 7), 10.0).all()


def test_pair_tables__both_views_flipped__both_axes_reversed():
    """Catches a flip that is undone in one view only."""
    query, key = torch.tensor([[0.1, 0.2, 0.8, 0.9]]), torch.tensor([[0.0, 0.1, 0.6, 0.9]])
    plain = mask_of(query, key, (4, 4), 0.7).unflatten(2, (4, 4)).unflatten(1, (4, 4))
    flipped = mask_of(query[:, [2, 1, 0, 3]], key[:, [2, 1, 0, 3]], (4, 4), 0.7).unflatten(2, (4, 4)).unflatten(1, (4, 4))
    assert plain.any()
    assert torch.equal(flipped, plain.flip(2, 4))
    assert not torch.equal(flipped, plain)


def test_pair_tables__views_without_extent__no_pairs():
    """Catches NaN from an image of one pixel, whose bins have no size."""
    point = torch.zeros(1, 4)
    assert not mask_of(point, point, (3, 3), 0.7).any()


def test_bin_centres__flipped_crop__runs_backwards():
    """Catches centres at the edges of the bins."""
    x, y = bin_centres(torch.tensor([[0.8, 0.0, 0.0, 0.5]]), (1, 4))
    torch.testing.assert_close(x, torch.tensor([[0.7, 0.5, 0.3, 0.1]]))
    torch.testing.assert_close(y, torch.tensor([[0.25]]))


def test_pair_tables__half_precision_around__decides_in_float32():
    """Catches pairs near the threshold that flip under autocast."""
    coords = torch.rand(4, 4, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", torch.bfloat16):
        pairs = pair_tables(coords, coords.flip(0), (7, 7), (7, 7), 0.7)
    assert pairs.columns.dtype == torch.float32
    assert torch.equal(pairs.mask(0, 7), pair_tables(coords, coords.flip(0), (7, 7), (7, 7), 0.7).mask(0, 7))
