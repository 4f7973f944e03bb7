"""Silhouettes of the thing categories: closed contours in a unit circle, filled by the even-odd rule."""

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from dense.data.world.categories import THINGS

__all__ = ["Contours", "silhouette"]

Contours = tuple[NDArray[np.float64], ...]


@cache
def silhouette(category: str) -> Contours:
    """Contours of a category, each ``(P, 2)`` as (x right, y down); the farthest point has distance 1 from the origin.

    Args:
        category: one of ``THINGS``.

    Raises: KeyError for another name.
    """
    contours = [np.asarray(c, dtype=np.float64) for c in _SHAPES[category]()]
    points = np.concatenate(contours)
    centre = (points.min(0) + points.max(0)) / 2
    radius = np.hypot(*(points - centre).T).max()
    step = 0.1
    while step > 1e-4:  # towards the centre of the smallest enclosing circle: step to the farthest point while that helps
        offset = points - centre
        moved = centre + step * offset[np.argmax(np.hypot(*offset.T))]
        reach = np.hypot(*(points - moved).T).max()
        if reach < radius:
            centre, radius = moved, reach
        else:
            step /= 2
    return tuple((c - centre) / radius for c in contours)


def _arc(
    radius: float, start: float, stop: float, steps: int = 48, centre: tuple[float, float] = (0.0, 0.0)
) -> NDArray[np.float64]:
    angle = np.radians(np.linspace(start, stop, steps))
    return np.stack([centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)], axis=1)


def _polar(radii: list[float], phase: float = -90.0) -> NDArray[np.float64]:
    angle = np.radians(phase + np.arange(len(radii)) * 360.0 / len(radii))
    return np.stack([np.cos(angle), np.sin(angle)], axis=1) * np.asarray(radii)[:, None]


def _disc() -> list[NDArray[np.float64]]:
    return [_arc(1, 0, 360, 72)]


def _ring() -> list[NDArray[np.float64]]:
    return [_arc(1, 0, 360, 72), _arc(0.58, 0, 360, 72)]


def _triangle() -> list[NDArray[np.float64]]:
    return [_polar([1, 1, 1])]


def _square() -> list[NDArray[np.float64]]:
    return [_polar([1, 1, 1, 1], 45.0)]


def _star() -> list[NDArray[np.float64]]:
    return [_polar([1, 0.42] * 5)]


def _cross() -> list[NDArray[np.float64]]:
    a, b = 0.31, 0.95
    return [
        np.array([(-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a), (a, b), (-a, b), (-a, a), (-b, a), (-b, -a), (-a, -a)])
    ]


def _heart() -> list[NDArray[np.float64]]:
    t = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return [np.stack([x, y], axis=1)]


def _crescent() -> list[NDArray[np.float64]]:
    outer = _arc(1, 55, 305, 64)
    tip = outer[0]  # the inner arc runs through both tips, bulging to the left
    centre = 0.62
    radius = float(np.hypot(tip[0] - centre, tip[1]))
    half = float(np.degrees(np.arctan2(tip[1], tip[0] - centre)))
    return [np.concatenate([outer, _arc(radius, 360 - half, half, 48, (centre, 0.0))])]


def _arrow() -> list[NDArray[np.float64]]:
    return [np.array([(-1, -0.26), (0.05, -0.26), (0.05, -0.78), (1, 0), (0.05, 0.78), (0.05, 0.26), (-1, 0.26)])]


def _bolt() -> list[NDArray[np.float64]]:
    return [np.array([(-0.02, -1), (-0.72, 0.20), (-0.20, 0.20), (-0.46, 1), (0.72, -0.32), (0.16, -0.32), (0.62, -1)])]


def _gear() -> list[NDArray[np.float64]]:
    outline = []
    for tooth in range(8):
        for angle, radius in ((-13, 0.70), (-10, 1.0), (10, 1.0), (13, 0.70)):
            outline.append(_arc(radius, tooth * 45 + angle, 0, 1)[0])
    return [np.array(outline), _arc(0.33, 0, 360, 48)]


def _key() -> list[NDArray[np.float64]]:
    bow = _arc(0.52, 22, 338, 56, (-0.55, 0.0))
    blade = [(1.05, -0.19), (1.05, 0.56), (0.78, 0.56), (0.78, 0.19), (0.60, 0.19), (0.60, 0.50), (0.34, 0.50), (0.34, 0.19)]
    return [np.concatenate([bow, np.array(blade)]), _arc(0.25, 0, 360, 40, (-0.62, 0.0))]


def _fish() -> list[NDArray[np.float64]]:
    t = np.radians(np.linspace(160, -160, 60))
    body = np.stack([0.28 + 0.72 * np.cos(t), 0.46 * np.sin(t)], axis=1)
    tail = [(-1.0, -0.58), (-0.78, 0.0), (-1.0, 0.58)]
    return [np.concatenate([body, np.array(tail)])]


def _hourglass() -> list[NDArray[np.float64]]:
    return [np.array([(-0.68, -0.9), (0.68, -0.9), (0.12, 0), (0.68, 0.9), (-0.68, 0.9), (-0.12, 0)])]


_SHAPES: dict[str, Callable[[], list[NDArray[np.float64]]]] = {
    "disc": _disc,
    "ring": _ring,
    "triangle": _triangle,
    "square": _square,
    "star": _star,
    "cross": _cross,
    "heart": _heart,
    "crescent": _crescent,
    "arrow": _arrow,
    "bolt": _bolt,
    "gear": _gear,
    "key": _key,
    "fish": _fish,
    "hourglass": _hourglass,
}

if set(_SHAPES) != set(THINGS):  # a table that forgets a category would surface only in the first unlucky video
    raise RuntimeError("shapes and categories disagree")
