"""The scene graph: what is in a video, how it looks and moves, as a function of (seed, index), and its words."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dense.data.world.categories import COLOURS, TEXTURES, THINGS
from dense.data.world.motion import Camera, Trajectory, sample_camera, sample_trajectory

__all__ = [
    "RGB",
    "Look",
    "Relation",
    "Scene",
    "SceneDescription",
    "StuffLayout",
    "Thing",
    "ThingDescription",
    "jittered",
    "relate",
    "sample_scene",
]

RGB = tuple[int, int, int]

# Top to bottom; only orders that a picture could have.
_LAYOUTS: tuple[tuple[str, ...], ...] = (
    ("sky", "grass"),
    ("sky", "water"),
    ("brick", "grass"),
    ("brick", "sand"),
    ("sky", "water", "sand"),
    ("sky", "grass", "water"),
    ("sky", "brick", "grass"),
    ("sky", "sand", "water"),
    ("sky", "grass", "sand"),
    ("brick", "grass", "water"),
)


@dataclass(frozen=True)
class Look:
    """Appearance of a thing; equal looks give pixel-equal textures."""

    category: str
    colour: str
    second_colour: str
    rgb: RGB
    second_rgb: RGB
    texture: str
    texture_angle: float
    texture_scale: float
    texture_seed: int


@dataclass(frozen=True)
class Thing:
    """One instance: its look and its motion."""

    look: Look
    trajectory: Trajectory


@dataclass(frozen=True)
class StuffLayout:
    """Stuff regions from top to bottom with wavy borders.

    ``names`` has R regions; ``borders`` ``(R - 1, 8)`` holds per border: height, slope, then three (amplitude, phase).
    """

    names: tuple[str, ...]
    borders: NDArray[np.float64]

    def region(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.intp]:
        """Index into ``names`` at world points (picture heights); ``x`` and ``y`` broadcast."""
        index = np.zeros(np.broadcast(x, y).shape, dtype=np.intp)
        for height, slope, *waves in self.borders:
            border = height + slope * (x - 0.8)
            for k in range(3):
                border = border + waves[2 * k] * np.sin((3.1 + 5.3 * k) * x + waves[2 * k + 1])
            index += y > border
        return index


@dataclass(frozen=True)
class ThingDescription:
    """Words for one thing; ``stuff`` is what lies behind its centre."""

    category: str
    colour: str
    second_colour: str | None
    texture: str
    size: str
    stuff: str


@dataclass(frozen=True)
class Relation:
    """``things[subject] predicate things[object]``."""

    subject: int
    predicate: str
    object: int


@dataclass(frozen=True)
class SceneDescription:
    """What a caption may say about one moment; only things whose centre is in the picture."""

    things: tuple[ThingDescription, ...]
    relations: tuple[Relation, ...]
    stuff: tuple[str, ...]


@dataclass(frozen=True)
class Scene:
    """All of one video before rendering; lengths are in picture heights, times in moments."""

    seed: int
    index: int
    aspect: float
    moments: int
    layout: StuffLayout
    camera: Camera
    things: tuple[Thing, ...]
    brightness: float

    def to_picture(self, x: float, y: float, moment: float) -> tuple[float, float, float]:
        """World point to picture point (in picture heights from the top left corner), and the zoom."""
        pan_x, pan_y, zoom = self.camera.at(moment)
        return (x - self.aspect / 2 - pan_x) * zoom + self.aspect / 2, (y - 0.5 - pan_y) * zoom + 0.5, zoom

    def order(self, moment: float) -> list[int]:
        """Indices of the things from back to front."""
        return sorted(range(len(self.things)), key=lambda i: (-self.things[i].trajectory.at(moment).depth, i))

    def describe(self, moment: float = 0.0) -> SceneDescription:
        """Words for the picture at ``moment``: things, relations between neighbours, stuff regions."""
        placed, words = [], []
        for thing in self.things:
            pose = thing.trajectory.at(moment)
            x, y, zoom = self.to_picture(pose.x, pose.y, moment)
            if 0 <= x <= self.aspect and 0 <= y <= 1:
                placed.append((x, y, pose.radius * zoom, pose.depth))
                behind = self.layout.names[int(self.layout.region(np.array(pose.x), np.array(pose.y)))]
                words.append(_words(thing.look, pose.radius * zoom, behind))
        relations = [
            r for i in range(len(placed)) for j in range(i + 1, len(placed)) for r in relate(i, j, placed[i], placed[j])
        ]
        return SceneDescription(tuple(words), tuple(relations), self.layout.names)


def sample_scene(
    seed: int,
    index: int,
    aspect: float,
    moments: int,
    crowded: float = 0.0,
    draw_looks: Callable[[np.random.Generator], list[Look]] | None = None,
) -> Scene:
    """Draw the scene of video ``index``: a pure function of the arguments.

    A crowded video has five or six things, all large, of which two are twins and two more of one category; they cover and
    resemble each other more than in other videos.

    Args:
        seed: seed of the data set, >= 0.
        index: number of the video, >= 0.
        aspect: picture width / height.
        moments: number of moments the motion spans, >= 1.
        crowded: share of videos that are crowded, 0 to 1.
        draw_looks: draws the looks of the things of a video that is not crowded; ``None`` = three to six, any of them.
    """
    crowd = crowded > 0 and np.random.default_rng([seed, index, 3]).uniform() < crowded
    rng = np.random.default_rng([seed, index])
    duration = float(max(moments - 1, 1))
    layout = _sample_layout(rng)
    camera = sample_camera(rng, duration)
    looks = _crowded_looks(rng) if crowd else (draw_looks or _sample_looks)(rng)
    things: list[Thing] = []
    starts: list[NDArray[np.float64]] = []
    for look, depth in zip(looks, rng.permutation(len(looks)), strict=True):
        radius = (
            rng.uniform(0.16, 0.21) if crowd else rng.uniform(0.135, 0.2) if rng.uniform() < 0.9 else rng.uniform(0.12, 0.135)
        )
        if things and look is things[-1].look:
            radius = things[-1].trajectory.radius.mean  # twins are of one size too
        starts.append(_free_place(rng, aspect, starts))
        things.append(Thing(look, sample_trajectory(rng, duration, aspect, radius, starts[-1], depth / len(looks))))
    return Scene(seed, index, aspect, moments, layout, camera, tuple(things), rng.uniform(0.9, 1.06))


def _sample_radius(rng: np.random.Generator) -> float:
    return rng.uniform(0.135, 0.2) if rng.uniform() < 0.9 else rng.uniform(0.12, 0.135)


def _free_place(rng: np.random.Generator, aspect: float, taken: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The most distant of a few random places, so that things rarely start on top of each other."""
    candidates = rng.uniform([0.15, 0.15], [aspect - 0.15, 0.85], (8, 2))
    if not taken:
        return candidates[0]
    distance = np.linalg.norm(candidates[:, None] - np.array(taken)[None], axis=-1).min(1)
    return candidates[int(np.argmax(distance))]


def _sample_layout(rng: np.random.Generator) -> StuffLayout:
    names = _LAYOUTS[int(rng.integers(len(_LAYOUTS)))]
    heights = [rng.uniform(0.3, 0.6)] if len(names) == 2 else [rng.uniform(0.2, 0.38), rng.uniform(0.56, 0.78)]
    rows = []
    for height, below in zip(heights, names[1:], strict=True):
        calm = 0.35 if below in ("brick", "water") else 1.0
        amplitudes = rng.uniform(0.2, 1.0, 3) * np.array([0.045, 0.02, 0.008]) * calm
        phases = rng.uniform(0, 2 * np.pi, 3)
        waves = np.stack([amplitudes, phases], axis=1).ravel()
        rows.append([height, rng.uniform(-0.06, 0.06) * calm, *waves])
    return StuffLayout(names, np.array(rows))


def _sample_looks(rng: np.random.Generator) -> list[Look]:
    count = int(rng.integers(3, 7))
    categories = rng.choice(len(THINGS), count, replace=False)
    looks = [_sample_look(rng, THINGS[int(c)]) for c in categories]
    if rng.uniform() < 0.3:  # twins: told apart by their motion only
        looks[1] = looks[0]
    elif rng.uniform() < 0.3:  # same category, other dress
        looks[1] = _sample_look(rng, looks[0].category)
    return looks


def _crowded_looks(rng: np.random.Generator) -> list[Look]:
    """Twins first, then two of one category in different dress."""
    categories = rng.choice(len(THINGS), int(rng.integers(3, 5)), replace=False)
    first, second, *others = (_sample_look(rng, THINGS[int(c)]) for c in categories)
    return [first, first, second, _sample_look(rng, second.category), *others]


def _sample_look(rng: np.random.Generator, category: str) -> Look:
    names = list(COLOURS)
    first, second = (names[int(i)] for i in rng.choice(len(names), 2, replace=False))
    return Look(
        category=category,
        colour=first,
        second_colour=second,
        rgb=jittered(rng, COLOURS[first]),
        second_rgb=jittered(rng, COLOURS[second]),
        texture=TEXTURES[int(rng.integers(len(TEXTURES)))],
        texture_angle=float(rng.uniform(0, np.pi)),
        texture_scale=float(rng.uniform(0.8, 1.25)),
        texture_seed=int(rng.integers(2**31)),
    )


def jittered(rng: np.random.Generator, rgb: RGB) -> RGB:
    """A colour a little off ``rgb``: no two things have quite the same red."""
    r, g, b = (int(v) for v in np.clip(np.array(rgb) + rng.integers(-14, 15, 3), 0, 255))
    return r, g, b


def _words(look: Look, radius: float, stuff: str) -> ThingDescription:
    size = "small" if radius < 0.15 else "large" if radius > 0.19 else "medium"
    second = None if look.texture == "plain" else look.second_colour
    return ThingDescription(look.category, look.colour, second, look.texture, size, stuff)


def relate(i: int, j: int, a: tuple[float, ...], b: tuple[float, ...]) -> list[Relation]:
    """Relations between two things (x, y, radius, depth): occlusion when their circles overlap, else the clearer direction."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    if np.hypot(dx, dy) < 0.8 * (a[2] + b[2]):
        return [Relation(i, "in front of" if a[3] < b[3] else "behind", j)]
    if abs(dx) >= abs(dy):
        return [Relation(i, "left of" if dx > 0 else "right of", j)]
    return [Relation(i, "above" if dy > 0 else "below", j)]
