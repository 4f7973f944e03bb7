"""Textures: colours of things in their own coordinates, and of stuff on a canvas; all float32 RGB in [0, 255]."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from dense.data.world.scene import Look

__all__ = ["Image", "fractal_noise", "stuff_texture", "thing_texture"]

Image = NDArray[np.float32]


def fractal_noise(rng: np.random.Generator, height: int, width: int, cell: tuple[float, float], octaves: int = 3) -> Image:
    """Smooth noise ``(height, width)`` in about [0, 1]; ``cell`` is the coarsest grain (rows, columns) in pixels."""
    total = np.zeros((height, width), np.float32)
    weight, norm = 1.0, 0.0
    for octave in range(octaves):
        rows, columns = (max(2, round(n / (c / 2**octave)) + 2) for n, c in zip((height, width), cell, strict=True))
        grid = rng.random((rows, columns), dtype=np.float32)
        total += weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        norm += weight
        weight *= 0.55
    return np.clip((total / norm - 0.5) * 1.5 + 0.5, 0, 1)


def _mix(a: object, b: object, weight: NDArray[np.floating]) -> Image:
    """Blend colours (or images) ``a`` to ``b`` by ``weight`` ``(H, W)``."""
    w = weight[..., None].astype(np.float32)
    return np.asarray(a, np.float32) * (1 - w) + np.asarray(b, np.float32) * w


def thing_texture(look: Look, x: NDArray[np.float64], y: NDArray[np.float64]) -> Image:
    """Colours ``(H, W, 3)`` of a thing at its own coordinates (unit circle), before shading."""
    c, s = np.cos(look.texture_angle), np.sin(look.texture_angle)
    u, v = (c * x + s * y) / look.texture_scale, (c * y - s * x) / look.texture_scale
    return _mix(look.rgb, look.second_rgb, _PATTERNS[look.texture](u, v, look.texture_seed))


def _step(value: NDArray[np.float64], sharpness: float) -> NDArray[np.float64]:
    return np.clip(0.5 + sharpness * value, 0, 1)


def _striped(u: NDArray[np.float64], v: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    return _step(np.sin(2 * np.pi * u / 0.5), 4)


def _checked(u: NDArray[np.float64], v: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    return _step(np.sin(2 * np.pi * u / 0.72) * np.sin(2 * np.pi * v / 0.72), 7)


def _dotted(u: NDArray[np.float64], v: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    pitch = 0.42
    row = np.floor(v / pitch)
    du = (u / pitch + 0.5 * (row % 2)) % 1 - 0.5
    dv = (v / pitch) % 1 - 0.5
    return _step(0.3 - np.hypot(du, dv), 8)


def _noisy(u: NDArray[np.float64], v: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    size = u.shape[0]
    noise = fractal_noise(np.random.default_rng(seed), size, u.shape[1], (size / 7, size / 7), 2)
    return _step(noise.astype(np.float64) - 0.5, 3)


_PATTERNS: dict[str, Callable[[NDArray[np.float64], NDArray[np.float64], int], NDArray[np.float64]]] = {
    "plain": lambda u, v, seed: np.zeros_like(u),
    "striped": _striped,
    "checked": _checked,
    "dotted": _dotted,
    "gradient": lambda u, v, seed: _step(u, 0.62),
    "noisy": _noisy,
}


def stuff_texture(name: str, rng: np.random.Generator, height: int, width: int, unit: float) -> Image:
    """A canvas ``(height, width, 3)`` of one stuff category.

    Args:
        name: one of ``STUFF``.
        rng: source of randomness (palette, grain).
        height: canvas height, pixels.
        width: canvas width, pixels.
        unit: pixels per picture height; grain sizes scale with it.
    """
    return np.clip(_STUFF_TEXTURES[name](rng, height, width, unit), 0, 255)


def _sky(rng: np.random.Generator, height: int, width: int, unit: float) -> Image:
    palettes = [((74, 142, 214), (186, 218, 240)), ((96, 128, 190), (244, 200, 168)), ((110, 160, 200), (206, 220, 226))]
    top, bottom = palettes[int(rng.integers(len(palettes)))]
    fall = np.broadcast_to(np.linspace(0, 1, height)[:, None] ** 0.8, (height, width))
    clouds = fractal_noise(rng, height, width, (0.22 * unit, 0.5 * unit), 4)
    return _mix(_mix(top, bottom, fall), (250, 248, 246), np.clip((clouds - 0.52) * 3.2, 0, 0.85))


def _grass(rng: np.random.Generator, height: int, width: int, unit: float) -> Image:
    dark, light = [((52, 96, 40), (122, 166, 66)), ((60, 104, 52), (146, 172, 84)), ((44, 100, 58), (108, 160, 82))][
        int(rng.integers(3))
    ]
    patches = fractal_noise(rng, height, width, (0.3 * unit, 0.4 * unit), 2)
    blades = fractal_noise(rng, height, width, (0.07 * unit, 0.016 * unit), 2)
    return _mix(dark, light, np.clip(0.45 * patches + 0.75 * blades - 0.12, 0, 1))


def _water(rng: np.random.Generator, height: int, width: int, unit: float) -> Image:
    deep, pale = [((28, 84, 138), (88, 156, 192)), ((24, 104, 124), (98, 178, 178)), ((44, 74, 120), (120, 152, 190))][
        int(rng.integers(3))
    ]
    y = np.arange(height)[:, None] / unit
    bend = fractal_noise(rng, height, width, (0.16 * unit, 0.3 * unit), 2)
    ripples = 0.5 + 0.5 * np.sin(2 * np.pi * (y / 0.075 + 1.7 * bend))
    glints = np.clip((ripples - 0.86) * 5, 0, 1) * fractal_noise(rng, height, width, (0.05 * unit, 0.18 * unit), 2)
    return _mix(_mix(deep, pale, 0.6 * ripples + 0.4 * bend), (232, 244, 248), 0.75 * glints)


def _brick(rng: np.random.Generator, height: int, width: int, unit: float) -> Image:
    clay, mortar = [((168, 84, 62), (204, 192, 178)), ((146, 98, 76), (190, 182, 170)), ((128, 122, 124), (82, 80, 84))][
        int(rng.integers(3))
    ]
    course, length, joint = 0.085, 0.2, 0.012
    y = np.arange(height)[:, None] / unit
    x = np.arange(width)[None, :] / unit
    row = np.floor(y / course).astype(int)
    shifted = x + 0.5 * length * (row % 2)
    column = np.floor(shifted / length).astype(int)
    tint = rng.normal(0, 0.1, (row.max() + 1, column.max() + 1))[row, column]
    edge_y = np.minimum(y % course, course - y % course)
    edge_x = np.minimum(shifted % length, length - shifted % length)
    inside = np.clip((np.minimum(edge_y, edge_x) - joint / 2) / 0.005, 0, 1)
    grain = fractal_noise(rng, height, width, (0.03 * unit, 0.03 * unit), 2)
    bricks = np.asarray(clay, np.float32) * (0.86 + 0.28 * grain + tint)[..., None].astype(np.float32)
    return _mix(mortar, bricks, inside)


def _sand(rng: np.random.Generator, height: int, width: int, unit: float) -> Image:
    dark, light = [((190, 158, 104), (232, 210, 160)), ((202, 172, 128), (240, 222, 184)), ((176, 146, 110), (222, 196, 154))][
        int(rng.integers(3))
    ]
    y = np.arange(height)[:, None] / unit
    bend = fractal_noise(rng, height, width, (0.3 * unit, 0.3 * unit), 2)
    ripples = 0.5 + 0.5 * np.sin(2 * np.pi * (y / 0.11 + 2.6 * bend))
    speckle = rng.random((height, width), dtype=np.float32)
    return _mix(dark, light, np.clip(0.5 * ripples + 0.3 * bend + 0.3 * speckle, 0, 1))


_STUFF_TEXTURES: dict[str, Callable[[np.random.Generator, int, int, float], Image]] = {
    "sky": _sky,
    "grass": _grass,
    "water": _water,
    "brick": _brick,
    "sand": _sand,
}
