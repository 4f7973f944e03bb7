"""Smooth paths: positions, sizes, angles, depth of things and the camera as functions of continuous time (unit: moments)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Camera", "Pose", "Swing", "Trajectory", "Walk", "sample_camera", "sample_trajectory"]

_KNOT_SPACING = 9.0  # moments between knots of a path
_STEP = 0.34  # largest step between knots, picture heights
_EXIT_CHANCE = 0.15  # per knot


@dataclass(frozen=True)
class Walk:
    """A Catmull-Rom curve through ``knots`` ``(K, 2)``, evenly spaced over ``[0, duration]`` moments."""

    knots: NDArray[np.float64]
    duration: float

    def at(self, moment: float) -> NDArray[np.float64]:
        """Point ``(2,)`` at ``moment``; clamped to the ends."""
        last = len(self.knots) - 1
        position = min(max(moment / self.duration, 0.0), 1.0) * last
        index = min(int(position), last - 1)
        u = position - index
        p0, p1, p2, p3 = (self.knots[min(max(index + k, 0), last)] for k in (-1, 0, 1, 2))
        return 0.5 * (2 * p1 + (p2 - p0) * u + (2 * p0 - 5 * p1 + 4 * p2 - p3) * u**2 + (3 * p1 - p0 - 3 * p2 + p3) * u**3)


@dataclass(frozen=True)
class Swing:
    """``mean * (1 + swing * sin(2 pi (moment / period + phase)))``: a slow change of size or zoom."""

    mean: float
    swing: float
    period: float
    phase: float

    def at(self, moment: float) -> float:
        """Value at ``moment``."""
        return self.mean * (1 + self.swing * float(np.sin(2 * np.pi * (moment / self.period + self.phase))))


@dataclass(frozen=True)
class Pose:
    """Place of a thing in the world: centre and radius in picture heights, angle in radians, depth (smaller is nearer)."""

    x: float
    y: float
    radius: float
    angle: float
    depth: float


@dataclass(frozen=True)
class Trajectory:
    """Motion of one thing."""

    walk: Walk
    radius: Swing
    angle: float
    spin: float
    depth: float
    approach: float

    def at(self, moment: float) -> Pose:
        """Pose at ``moment``; ``spin`` is radians per moment, ``approach`` the change of depth over the whole duration."""
        x, y = self.walk.at(moment)
        depth = self.depth + self.approach * moment / self.walk.duration
        return Pose(float(x), float(y), self.radius.at(moment), self.angle + self.spin * moment, depth)


@dataclass(frozen=True)
class Camera:
    """A panning and zooming view; ``pan`` is the offset of the view's centre in picture heights."""

    pan: Walk
    zoom: Swing

    def at(self, moment: float) -> tuple[float, float, float]:
        """(offset x, offset y, zoom) at ``moment``."""
        x, y = self.pan.at(moment)
        return float(x), float(y), self.zoom.at(moment)


def sample_camera(rng: np.random.Generator, duration: float) -> Camera:
    """Draw a camera: pan within 0.1 heights, zoom within 0.94 and 1.12."""
    knots = max(2, round(duration / 16) + 1)
    pan = np.clip(rng.uniform(-0.06, 0.06, 2) + np.cumsum(rng.normal(0, 0.05, (knots, 2)), axis=0), -0.1, 0.1)
    swing = Swing(mean=1.03, swing=rng.uniform(0.02, 0.085), period=rng.uniform(40, 80), phase=rng.uniform())
    return Camera(Walk(pan, duration), swing)


def sample_trajectory(
    rng: np.random.Generator, duration: float, aspect: float, radius: float, start: NDArray[np.float64], depth: float
) -> Trajectory:
    """Draw the motion of one thing that starts at ``start``.

    Args:
        rng: source of randomness.
        duration: length in moments.
        aspect: picture width / height; the picture is ``[0, aspect] x [0, 1]``.
        radius: mean radius, picture heights.
        start: ``(2,)`` first knot.
        depth: depth at the first moment.
    """
    knots = max(3, round(duration / _KNOT_SPACING) + 1)
    low, high = np.array([0.7 * radius, 0.7 * radius]), np.array([aspect - 0.7 * radius, 1 - 0.7 * radius])
    inside = np.empty((knots, 2))
    inside[0] = start
    for k in range(1, knots):
        heading = rng.uniform(0, 2 * np.pi)
        step = rng.uniform(0.3, 1.0) * _STEP * np.array([np.cos(heading), 0.8 * np.sin(heading)])
        target = inside[k - 1] + step
        inside[k] = np.where((target < low) | (target > high), np.clip(inside[k - 1] - step, low, high), target)
    path = inside.copy()
    for k in map(int, np.flatnonzero(rng.uniform(size=knots) < _EXIT_CHANCE)):
        outside_before = k > 0 and not np.array_equal(path[k - 1], inside[k - 1])
        if not outside_before:
            path[k] = _beyond_the_edge(inside[k], aspect, 1.15 * radius + 0.12)
    return Trajectory(
        walk=Walk(path, duration),
        radius=Swing(radius, rng.uniform(0.0, 0.1), rng.uniform(30, 70), rng.uniform()),
        angle=rng.uniform(0, 2 * np.pi),
        spin=rng.uniform(0.0, 0.06) * rng.choice([-1, 1]),
        depth=depth,
        approach=rng.uniform(-0.3, 0.3),
    )


def _beyond_the_edge(point: NDArray[np.float64], aspect: float, distance: float) -> NDArray[np.float64]:
    """Move ``point`` out of the picture over the nearest edge, ``distance`` heights beyond it."""
    x, y = point
    gaps = [x, aspect - x, y, 1 - y]
    ends = [(-distance, y), (aspect + distance, y), (x, -distance), (x, 1 + distance)]
    return np.array(ends[int(np.argmin(gaps))])
