"""Geometry of the timeline's segments and axis."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dense.visualization.charts import frame_edges, segments, sorted_bars, time_ticks


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.floats(0, 100), st.floats(0.01, 2))
def test_segments__any_seen_list__cover_it_exactly(seen, start, step):
    """Catches frames lost or added at run borders, and segments outside the drawing."""
    times = [start + i * step for i in range(len(seen))]
    found = segments(seen, times)
    frames = [f for s in found for f in range(s.first, s.last + 1)]
    assert frames == [f for f, is_seen in enumerate(seen) if is_seen]
    assert all(b.first > a.last + 1 for a, b in pairwise(found))
    assert sum(s.width for s in found) == pytest.approx(100 * sum(seen) / len(seen), abs=0.01)
    assert all(s.x >= 0 and s.x + s.width <= 100.001 for s in found)


def test_segments__no_frames_or_one__no_division_by_zero():
    """Catches crashes on empty and single-frame videos."""
    assert segments([], []) == []
    assert [(s.x, s.width) for s in segments([True], [0.0])] == [(0, 100)]
    assert frame_edges([]) == [0.0]
    assert time_ticks([]) == []


@pytest.mark.parametrize(
    ("end", "texts"),
    [
        (4, ["0.0 s", "0.5 s", "1.0 s", "1.5 s", "2.0 s", "2.5 s", "3.0 s", "3.5 s", "4.0 s"]),
        (60, ["0 s", "10 s", "20 s", "30 s", "40 s", "50 s", "60 s"]),
        (0.04, ["0.000 s", "0.005 s", "0.010 s", "0.015 s", "0.020 s", "0.025 s", "0.030 s", "0.035 s", "0.040 s"]),
    ],
)
def test_time_ticks__span__round_steps(end, texts):
    """Catches crowded axes, steps such as 0.37 s, and labels rounded until two read alike."""
    ticks = time_ticks([end * i / 100 for i in range(100)])
    assert [t.text for t in ticks] == texts
    assert ticks[0].x == 0
    assert ticks[-1].x == pytest.approx(100, abs=0.01)


def test_sorted_bars__ties_and_undefined__stable_order():
    """Catches undefined values sorted as zero among real zeros."""
    bars = sorted_bars([("b", 5.0, None), ("n", float("nan"), 1.0), ("z", 0.0, None), ("a", 5.0, -1.0), ("m", -1.0, None)])
    assert [b.name for b in bars] == ["a", "b", "z", "m", "n"]
    assert [b.value for b in bars] == [5.0, 5.0, 0.0, None, None]
    assert bars[0].reference is None


def test_segments__parts__cut_where_they_change():
    """Catches a track drawn as one bar though it lies on one object after another, and absent frames that are drawn."""
    found = segments([True, True, True, False, True], [0.0, 1.0, 2.0, 3.0, 4.0], [7, 7, None, 7, 0])
    assert [(s.first, s.last, s.part, s.x, s.width) for s in found] == [
        (0, 1, 7, 0, 40),
        (2, 2, None, 40, 20),
        (4, 4, 0, 80, 20),
    ]
