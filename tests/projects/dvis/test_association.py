"""Matching of queries from frame to frame."""

import itertools

import pytest
import torch

from dense.errors import NonFiniteError
from dense.projects.dvis.association import match_embeddings


@pytest.mark.golden
def test_match_embeddings__reference__finds_the_stored_permutation(golden, parity):
    """Catches the inverse permutation, and a similarity that is not the cosine."""
    arrays = parity.Arrays(golden("dvis_parts.npz"), "match.")
    reference, current = arrays.tensor("reference")[:, 0], arrays.tensor("plain.current")[:, 0]
    assert match_embeddings(current, reference).tolist() == arrays["plain.indices"].tolist()


def test_match_embeddings__shuffled_and_scaled__recovers_the_order():
    """Catches a match that depends on lengths instead of directions."""
    torch.manual_seed(5)
    reference = torch.randn(12, 8)
    shuffle = torch.randperm(12)
    current = reference[shuffle] * (0.1 + 9 * torch.rand(12, 1)) + 0.01 * torch.randn(12, 8)
    order = match_embeddings(current, reference)
    assert torch.equal(shuffle[order], torch.arange(12))


def test_match_embeddings__small__is_the_best_of_all_permutations():
    """Catches a greedy choice: all permutations are tried."""
    torch.manual_seed(2)
    current, reference = torch.randn(5, 3), torch.randn(5, 3)
    similarity = torch.nn.functional.cosine_similarity(reference[:, None], current[None], dim=-1)
    best = max(itertools.permutations(range(5)), key=lambda p: float(sum(similarity[i, j] for i, j in enumerate(p))))
    assert tuple(match_embeddings(current, reference).tolist()) == best


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
def test_match_embeddings__not_finite__raises(value):
    """Catches broken outputs that the solver would report as a foreign error, or order at random."""
    current = torch.randn(4, 3)
    current[2] = value
    with pytest.raises(NonFiniteError, match="not finite"):
        match_embeddings(current, torch.randn(4, 3))
