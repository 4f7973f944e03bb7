"""Geometry of the report's charts. Across in percent of the drawing's width, so that it fits any screen; down in pixels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

__all__ = ["Bar", "Segment", "Tick", "defined", "frame_edges", "segments", "sorted_bars", "time_ticks"]


@dataclass(frozen=True)
class Segment:
    """Frames in a row in which a track is seen.

    Attributes:
        first: first frame.
        last: last frame, inclusive.
        start_s: when the first frame appears, in seconds.
        end_s: when the last frame disappears, in seconds.
        x: left edge in percent.
        width: in percent.
        part: what the track is divided by, as given; ``None`` where it is not.
    """

    first: int
    last: int
    start_s: float
    end_s: float
    x: float
    width: float
    part: int | None = None


@dataclass(frozen=True)
class Tick:
    """A mark of the time axis: ``x`` in percent."""

    x: float
    text: str


@dataclass(frozen=True)
class Bar:
    """One category: ``value`` and ``reference`` in percent, ``None`` where undefined."""

    name: str
    value: float | None
    reference: float | None


def frame_edges(times_s: Sequence[float]) -> list[float]:
    """``T + 1`` moments in seconds: where each frame begins, then where the last ends (after the median interval)."""
    if not times_s:
        return [0.0]
    gaps = sorted(b - a for a, b in pairwise(times_s))
    last = gaps[len(gaps) // 2] if gaps else 1.0
    return [*(float(t) for t in times_s), float(times_s[-1]) + last]


def segments(seen: Sequence[bool], times_s: Sequence[float], parts: Sequence[int | None] | None = None) -> list[Segment]:
    """Runs of ``True`` in ``seen`` (one entry per frame of ``times_s``) as segments of the timeline.

    They are cut where ``parts`` changes, for instance the object that the track lies on; ``None`` is a part like others.
    """
    edges = frame_edges(times_s)
    span = edges[-1] - edges[0]
    found = []
    for (is_seen, part), run in groupby(
        range(len(seen)), key=lambda frame: (bool(seen[frame]), parts[frame] if parts else None)
    ):
        frames = list(run)
        if is_seen:
            start, end = edges[frames[0]], edges[frames[-1] + 1]
            x, width = 100 * (start - edges[0]) / span, 100 * (end - start) / span
            found.append(Segment(frames[0], frames[-1], start, end, round(x, 4), round(width, 4), part))
    return found


def time_ticks(times_s: Sequence[float], most: int = 8, unit: str = "s") -> list[Tick]:
    """Round moments for the axis: steps of 1, 2 or 5 times a power of ten of the ``unit``, at most ``most`` + 1 of them."""
    edges = frame_edges(times_s)
    span = edges[-1] - edges[0]
    if span <= 0:
        return []
    raw = span / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * (1 - 1e-9))
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    first, last = math.ceil(edges[0] / step - 1e-9), math.floor(edges[-1] / step + 1e-9)
    moments = [step * i for i in range(first, last + 1)]
    return [Tick(round(100 * (t - edges[0]) / span, 4), f"{t:.{digits}f} {unit}".rstrip()) for t in moments]


def sorted_bars(rows: Sequence[tuple[str, float | None, float | None]]) -> list[Bar]:
    """Bars of ``(name, value, reference)`` rows, best first, undefined last; ties by name."""
    bars = [Bar(name, defined(value), defined(reference)) for name, value, reference in rows]
    return sorted(bars, key=lambda bar: (bar.value is None, -(bar.value or 0.0), bar.name))


def defined(value: float | None) -> float | None:
    """``None`` for what has no value: ``None`` itself, not-a-number, infinities, and the -1 of COCO's evaluators."""
    return value if value is not None and math.isfinite(value) and value >= 0 else None
