"""Matching of queries from frame to frame."""

import itertools

import pytest
import torch

from dense.errors import NonFiniteError
from dense.projects.dvis.association import FrameAssociation, MemoryAssociation, match_embeddings


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


def scene(hidden, seed=3):
    """Six objects over 12 frames in random order; those in ``hidden`` look like background (no object) in frames 4 to 7."""
    torch.manual_seed(seed)
    base, background = 3 * torch.eye(6, 16), torch.randn(12, 6, 16)
    frames, orders = [], []
    for t in range(12):
        embeddings = base + 0.1 * torch.randn(6, 16)
        logits = torch.tensor([[6.0, 0.0]]).repeat(6, 1)
        if 4 <= t <= 7:
            embeddings[hidden] = background[t][hidden]
            logits[hidden] = torch.tensor([0.0, 6.0])
        shuffle = torch.randperm(6) if t else torch.arange(6)
        frames.append((embeddings[shuffle], logits[shuffle]))
        orders.append(torch.argsort(shuffle))
    return frames, orders


def run(association, frames):
    memory, found = None, []
    for embeddings, logits in frames:
        order, memory = association(embeddings, logits, memory)
        found.append(order)
    return found


@pytest.mark.parametrize("association", [FrameAssociation(), MemoryAssociation(decay=0.9)])
def test_association__all_visible__recovers_every_order(association):
    """Catches orders that are inverted or composed the wrong way."""
    frames, orders = scene([])
    assert all(torch.equal(a, b) for a, b in zip(run(association, frames), orders, strict=True))


def test_memory_association__objects_hidden_for_four_frames__keep_their_numbers():
    """Catches a memory that drifts with the background; comparing with the frame before alone loses these objects."""
    remembered, lost = 0, 0
    for seed in range(10):
        frames, orders = scene([1, 4], seed)
        remembered += torch.equal(run(MemoryAssociation(decay=0.9), frames)[-1], orders[-1])
        lost += not torch.equal(run(FrameAssociation(), frames)[-1], orders[-1])
    assert remembered == 10
    assert lost >= 3  # two hidden objects swap by chance half of the time


def test_memory_association__decay_one__is_the_weighted_mean_of_all_frames():
    """Catches a running mean whose weights are not the probabilities of being an object."""
    torch.manual_seed(0)
    frames = [(torch.randn(1, 8), torch.randn(1, 3)) for _ in range(4)]
    memory = None
    for embeddings, logits in frames:
        _, memory = MemoryAssociation(decay=1.0)(embeddings, logits, memory)
    weights = torch.stack([1 - logits.softmax(-1)[0, -1] for _, logits in frames])
    assert torch.allclose(memory.weight, weights.sum()[None], atol=1e-6)
    assert torch.allclose(memory.reference.norm(), torch.tensor(1.0), atol=1e-6)


@pytest.mark.parametrize("name", ["FrameAssociation", "MemoryAssociation"])
def test_association__nan_embedding__is_an_error(name):
    """Catches an assignment that hides broken outputs."""
    from dense.projects.dvis.association import ASSOCIATIONS

    association = FrameAssociation() if name == "FrameAssociation" else MemoryAssociation(decay=0.5)
    assert isinstance(association, ASSOCIATIONS.get(name))
    good, bad = torch.randn(3, 4), torch.full((3, 4), float("nan"))
    _, memory = association(good, torch.zeros(3, 2), None)
    with pytest.raises(NonFiniteError):
        association(bad, torch.zeros(3, 2), memory)
