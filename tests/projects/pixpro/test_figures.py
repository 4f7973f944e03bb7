"""Diagnostics against their definitions, and the warning of a collapse."""

import logging
import math

import pytest
import torch
import torch.nn.functional as F

from dense import build_model
from dense.projects.pixpro.figures import FeatureWatch, pair_figures, spread_figures
from dense.projects.pixpro.pairs import pair_tables


def units(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_pair_figures__random_maps__their_definitions():
    """Catches means over pairs where they should be over images, and positives among the others."""
    query, key = units(3, 12, 6), units(3, 12, 6, seed=1)
    coords = torch.tensor([[0.0, 0.0, 0.6, 0.7], [0.0, 0.0, 0.1, 0.1], [0.7, 0.1, 0.2, 0.9]])
    others = torch.tensor([[0.2, 0.1, 0.9, 0.8], [0.8, 0.8, 1.0, 1.0], [0.1, 0.0, 0.8, 0.8]])
    pairs = pair_tables(coords, others, (3, 4), (3, 4), 0.9)
    mask, cosine = pairs.mask(0, 3), query @ key.mT
    figures = pair_figures(query, key, pairs, 5)
    positive = torch.stack([cosine[n][mask[n]].mean() for n in (0, 2)]).mean()
    assert figures["positives_share"] == pytest.approx(2 / 3)
    assert figures["positives_per_pair"] == pytest.approx(float(mask.sum()) / 3)
    assert figures["positive_cosine"] == pytest.approx(float(positive), abs=1e-6)
    assert figures["alignment"] == pytest.approx(2 - 2 * float(positive), abs=1e-6)
    rest = torch.stack([cosine[n][~mask[n]].mean() for n in range(3)]).mean()
    assert figures["same_image_cosine"] == pytest.approx(float(rest), abs=1e-6)
    between = torch.stack([(query[n] @ key[m].T).mean() for n in range(3) for m in range(3) if n != m]).mean()
    assert figures["other_image_cosine"] == pytest.approx(float(between), abs=1e-6)


def test_pair_figures__one_image_all_positive__leaves_out_what_there_is_not():
    """Catches NaN in the log from a mean over nothing."""
    whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    figures = pair_figures(units(1, 4, 3), units(1, 4, 3), pair_tables(whole, whole, (2, 2), (2, 2), 9.0), 5)
    assert figures.keys() == {"positives_share", "positives_per_pair", "positive_cosine", "alignment"}
    apart = pair_tables(whole, whole + 5, (2, 2), (2, 2), 0.7)
    assert "positive_cosine" not in pair_figures(units(1, 4, 3), units(1, 4, 3), apart, 5)


def test_spread_figures__known_features__closed_forms():
    """Catches singular values of features that are not centred, and pairs of a row with itself."""
    rows = torch.cat([torch.eye(4), -torch.eye(4)])  # mean 0, four equal singular values
    figures = spread_figures(rows)
    assert figures["effective_rank"] == pytest.approx(4, rel=1e-4)
    assert figures["channel_std"] == pytest.approx(0.5, rel=1e-5)
    distances = [float((a - b).square().sum()) for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j]
    expected = math.log(sum(math.exp(-2 * d) for d in distances) / len(distances))
    assert figures["uniformity"] == pytest.approx(expected, rel=1e-4)
    assert spread_figures(torch.ones(50, 8) / 8**0.5)["channel_std"] < 1e-6


def test_collapse_watch__constant_features__one_line(caplog):
    """Catches a warning for one bad report, in every report, or never."""
    constant, healthy = spread_figures(torch.ones(50, 8) / 8**0.5), spread_figures(units(50, 8))
    watch = FeatureWatch(patience=3)
    with caplog.at_level(logging.WARNING):
        said = [watch.report(f) for f in (constant, constant, healthy, constant, constant, constant, constant)]
    assert said == [False, False, False, False, False, True, False]
    assert len(caplog.records) == 1
    assert "Likely causes" in caplog.text


def train(model, batches, steps, rate):
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], rate, momentum=0.9)
    figures = []
    for step in range(steps):
        model.begin_step(step)
        model.want_figures(step % 5 == 4)
        loss = sum(model(batches[step % len(batches)]).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 5 == 4:
            figures.append(model.training_figures())
    return figures


def test_pretraining__without_propagation__collapses_and_says_so(tiny, records, caplog):
    """Catches a consistency loss that cannot collapse (so it teaches something else), and figures that do not notice."""
    torch.manual_seed(0)
    options = ["PRETRAIN.OBJECTIVE", "PixelConsistency", "PRETRAIN.MOMENTUM", 0.5, "PRETRAIN.COLLAPSE_REPORTS", 4]
    model = build_model(tiny(*options, "SOLVER.MAX_ITER", 60))
    with caplog.at_level(logging.WARNING):
        figures = train(model, [records(8, 64, seed) for seed in range(2)], 60, 0.5)
    assert figures[-1]["positive_cosine"] > 0.99
    assert caplog.text.count("have collapsed") == 1


def test_pretrainer__figures__change_nothing(tiny, records):
    """Catches figures that draw random numbers or touch buffers: where a run is logged must not change it."""
    states = []
    for wanted in (False, True):
        torch.manual_seed(1)
        model = build_model(tiny("PRETRAIN.INSTANCE.NAME", "InstanceConsistency"))
        model.begin_step(1)
        model.want_figures(wanted)
        losses = model(records())
        sum(losses.values()).backward()
        assert bool(model.training_figures()) == wanted
        states.append([*losses.values(), *model.state_dict().values(), torch.rand(1)])
    assert all(torch.equal(a, b) for a, b in zip(*states, strict=True))
