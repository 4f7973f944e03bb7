"""Figures of embeddings: golden numbers, closed forms, and the warning about a collapse."""

import math

import pytest
import torch

from dense.modeling.objectives.diagnostics import (
    CollapseWatch,
    alignment,
    dimension_std,
    effective_rank,
    modality_gap,
    pair_figures,
    sampled,
    summary,
    tolerance,
    uniformity,
)


@pytest.mark.golden
def test_diagnostics__golden_rows__all_four(case):
    """Catches a missing normalisation or centring, and pairs counted otherwise."""
    golden = case("diagnostics")
    first, second, labels = (torch.from_numpy(golden[f"in.{name}"]) for name in ("x1", "x2", "labels"))
    found = {
        "alignment": alignment([first, second]),
        "uniformity_t2": uniformity(first),
        "tolerance": tolerance(first, labels),
        "effective_rank": effective_rank(first),
    }
    for name, value in found.items():
        assert math.isclose(float(value), float(golden[name]), rel_tol=1e-9), name


def test_effective_rank__spread_and_collapsed_rows__dimensions_and_one():
    """Catches a rank of the uncentred matrix, which never sees a constant direction as a collapse."""
    spread = torch.cat((torch.eye(6), -torch.eye(6)))
    assert math.isclose(float(effective_rank(spread)), 6, rel_tol=1e-5)
    line = torch.linspace(-1, 1, 9)[:, None] * torch.ones(1, 5) + torch.tensor([7.0, 0, 0, 0, 0])
    assert math.isclose(float(effective_rank(line)), 1, rel_tol=1e-3)
    assert float(effective_rank(torch.ones(4, 3))) == 1
    assert float(effective_rank(line, center=False)) > 1.01


def test_uniformity__orthonormal_and_equal_rows__closed_forms():
    """Catches self-pairs in the mean, which would raise it."""
    assert math.isclose(float(uniformity(torch.eye(5))), -4, rel_tol=1e-6)
    assert abs(float(uniformity(torch.ones(4, 3)))) < 1e-5


def test_pair_figures__orthonormal_pairs__closed_forms():
    """Catches a positive among the negatives, and a penalty that includes it."""
    figures = pair_figures(torch.eye(5), torch.eye(5), torch.tensor(2.0))
    assert math.isclose(float(figures["positive_share"]), math.exp(2) / (math.exp(2) + 4), rel_tol=1e-5)
    assert float(figures["in_batch_accuracy"]) == 1
    assert float(figures["hardest_negative"]) == 0
    assert math.isclose(float(figures["penalty_entropy"]), math.log(4), rel_tol=1e-5)
    assert math.isclose(float(figures["penalty_max"]), 0.25, rel_tol=1e-5)


def test_dimension_std_and_gap__known_rows__by_hand():
    """Catches a spread over the wrong axis."""
    rows = torch.nn.functional.normalize(torch.randn(4000, 16), dim=1)
    assert math.isclose(float(dimension_std(rows)), 1 / 4, rel_tol=0.02)
    assert math.isclose(float(modality_gap(torch.eye(2)[:1], torch.eye(2)[1:])), math.sqrt(2), rel_tol=1e-6)


def test_sampled__many_rows__same_draw_for_one_seed():
    """Catches labels drawn otherwise than the rows they belong to."""
    rows = torch.arange(100)
    assert torch.equal(sampled(rows, 10, 3), sampled(rows, 10, 3))
    assert not torch.equal(sampled(rows, 10, 3), sampled(rows, 10, 4))
    assert torch.equal(sampled(rows, 100, 3), rows)


def test_collapse_watch__long_collapse__warns_once_then_anew():
    """Catches a line in every report, a warning after one bad report, and NaN taken for health."""
    watch = CollapseWatch(64, 32, patience=3)
    good, bad = (20.0, 0.17), (1.0, 0.001)
    assert [watch.update(*bad) for _ in range(2)] == [None, None]
    assert watch.update(*good) is None
    warnings = [watch.update(*bad) for _ in range(10)]
    assert [i for i, line in enumerate(warnings) if line] == [2]
    assert "effective rank 1.0 (least 2.0)" in warnings[2]
    assert "\n" not in warnings[2]
    watch.update(*good)
    assert [bool(watch.update(math.nan, math.nan)) for _ in range(3)] == [False, False, True]


def test_summary__collapsed_training__seen_by_the_watch():
    """Catches figures that look healthy when all rows are nearly the same: one run collapses, its twin does not."""
    torch.manual_seed(0)
    healthy, collapsed = torch.randn(2, 64, 32), torch.randn(2, 64, 32) * 1e-4 + 1
    for views, expected in ((healthy, False), (collapsed, True)):
        figures = summary(list(views), torch.tensor(10.0))
        line = CollapseWatch(64, 32, patience=1).update(float(figures["effective_rank"]), float(figures["dimension_std"]))
        assert (line is not None) == expected


@pytest.mark.parametrize("views", [1, 2, 3])
def test_summary__number_of_views__figures(views):
    """Catches figures of pairs where there is one view."""
    rows = [torch.randn(5, 4) for _ in range(views)]
    figures = summary(rows, torch.tensor(1.0), labels=torch.zeros(5))
    assert ("alignment" in figures) == (views > 1)
    assert "tolerance" in figures
