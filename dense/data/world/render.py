"""Rendering: a scene to frames, visible instance masks and stuff maps; pure functions of (scene, size, moment)."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dense.data.world.categories import STUFF, VOID
from dense.data.world.parameters import check_integer, check_share, check_video
from dense.data.world.scene import Look, Scene, sample_scene
from dense.data.world.shapes import silhouette
from dense.data.world.textures import Image, stuff_texture, thing_texture

__all__ = ["MIN_VISIBLE", "RenderedFrame", "RenderedVideo", "Renderer", "render_frames", "render_moment", "render_video"]

MIN_VISIBLE = 12  # pixels; a thing that shows less counts as absent in that frame

_OVERSAMPLING = 4  # per axis, for the coverage of silhouettes
_MARGIN = 0.3  # canvas beyond the picture, picture heights: pan 0.1 and zoom 0.94 stay inside
_CANVAS_ZOOM = 1.12
_SPRITE_EXTENT = 1.1  # sprites span [-1.1, 1.1] in the thing's unit circle
_SHADOW = 0.34


@dataclass(frozen=True)
class RenderedFrame:
    """One picture: ``image`` ``(H, W, 3)`` uint8 RGB; ``owner`` ``(H, W)`` int16, index of the visible thing or -1;
    ``stuff`` ``(H, W)`` uint8, index into ``STUFF`` or ``VOID`` under a thing."""

    image: NDArray[np.uint8]
    owner: NDArray[np.int16]
    stuff: NDArray[np.uint8]


@dataclass(frozen=True)
class RenderedVideo:
    """A video with ground truth.

    ``frames`` ``(T, H, W, 3)`` uint8 RGB; ``masks`` ``(N, T, H, W)`` bool, visible part, all False in a frame where fewer than
    ``MIN_VISIBLE`` pixels show; ``categories`` ``(N,)`` names; ``stuff`` ``(T, H, W)`` uint8, index into ``STUFF`` or ``VOID``.
    """

    scene: Scene
    frames: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    categories: tuple[str, ...]
    stuff: NDArray[np.uint8]


class Renderer:
    """Draws the moments of one scene at one size; textures are prepared once.

    Args:
        scene: what to draw; its ``aspect`` must be width / height.
        size: (height, width) in pixels.
    """

    def __init__(self, scene: Scene, size: tuple[int, int]) -> None:
        self.scene = scene
        self.height, self.width = size
        rng = np.random.default_rng([scene.seed, scene.index, 1])  # 1: textures; the scene graph has the stream without it
        self._unit = self.height * _CANVAS_ZOOM  # canvas pixels per picture height
        self._canvas, self._canvas_stuff = self._paint_canvas(rng)
        self._sprites = [_sprite(thing.look, self.height) for thing in scene.things]
        self._noise = rng.normal(0, 2.2, (self.height + 32, self.width + 32, 1)).astype(np.float32)

    def frame(self, moment: float) -> RenderedFrame:
        """Draw the picture at ``moment``."""
        image, stuff = self._background(moment)
        owner = np.full((self.height, self.width), -1, np.int16)
        for index in self.scene.order(moment):
            self._draw(image, owner, index, moment)
        stuff[owner >= 0] = VOID
        dy, dx = np.random.default_rng([self.scene.seed, self.scene.index, 2, round(moment * 1024)]).integers(0, 32, 2)
        image += self._noise[dy : dy + self.height, dx : dx + self.width]
        return RenderedFrame(np.clip(image + 0.5, 0, 255).astype(np.uint8), owner, stuff)

    def full_silhouette(self, index: int, moment: float) -> NDArray[np.bool_]:
        """Mask ``(H, W)`` of one thing as if nothing covered it."""
        mask = np.zeros((self.height, self.width), bool)
        placed = self._coverage(index, moment)
        if placed is not None:
            coverage, x, y, _ = placed
            inner, outer = _overlap(coverage.shape, x, y, mask.shape)
            mask[outer] = coverage[inner] >= 128
        return mask

    def _paint_canvas(self, rng: np.random.Generator) -> tuple[Image, NDArray[np.uint8]]:
        layout = self.scene.layout
        height = round((1 + 2 * _MARGIN) * self._unit)
        width = round((self.scene.aspect + 2 * _MARGIN) * self._unit)
        x: NDArray[np.float64] = (np.arange(width, dtype=np.float64) + 0.5) / self._unit - _MARGIN
        y: NDArray[np.float64] = (np.arange(height, dtype=np.float64) + 0.5) / self._unit - _MARGIN
        region = layout.region(x[None], y[:, None])
        canvas = np.zeros((height, width, 3), np.float32)
        for index, name in enumerate(layout.names):
            paint = stuff_texture(name, rng, height, width, self._unit)
            weight = cv2.GaussianBlur((region == index).astype(np.float32), (0, 0), 0.7)
            canvas += paint * weight[..., None]
        labels = np.array([STUFF.index(name) for name in layout.names], np.uint8)[region]
        return canvas * np.float32(self.scene.brightness), labels

    def _background(self, moment: float) -> tuple[Image, NDArray[np.uint8]]:
        origin_x, origin_y, zoom = self.scene.to_picture(-_MARGIN, -_MARGIN, moment)
        scale = zoom * self.height / self._unit
        # pixel centres: canvas c sits at world (c + 0.5) / unit - margin, picture p at p + 0.5
        shift_x, shift_y = (origin * self.height + 0.5 * scale - 0.5 for origin in (origin_x, origin_y))
        matrix = np.array([[scale, 0, shift_x], [0, scale, shift_y]])
        size = (self.width, self.height)
        image = cv2.warpAffine(self._canvas, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        stuff = cv2.warpAffine(self._canvas_stuff, matrix, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT)
        return np.asarray(image, np.float32), np.asarray(stuff, np.uint8)

    def _coverage(self, index: int, moment: float) -> tuple[NDArray[np.uint8], int, int, NDArray[np.float64]] | None:
        """Coverage (uint8, 255 = all) of a thing in a window, the window's corner (x, y), and the 2x3 map from the thing's
        unit circle to picture pixels; ``None`` when the thing is out of the picture."""
        thing = self.scene.things[index]
        pose = thing.trajectory.at(moment)
        x, y, zoom = self.scene.to_picture(pose.x, pose.y, moment)
        radius = pose.radius * zoom * self.height
        c, s = radius * np.cos(pose.angle), radius * np.sin(pose.angle)
        to_picture = np.array([[c, -s, x * self.height], [s, c, y * self.height]])
        pad = self._shadow_reach() + 2
        left, top = (int(np.floor(v - radius)) - pad for v in (to_picture[0, 2], to_picture[1, 2]))
        side = int(np.ceil(2 * radius)) + 2 * pad + 1
        if left >= self.width or top >= self.height or left + side <= 0 or top + side <= 0:
            return None
        fine = np.zeros((side * _OVERSAMPLING, side * _OVERSAMPLING), np.uint8)
        contours = [
            (p @ to_picture[:, :2].T + to_picture[:, 2] - (left, top)) * _OVERSAMPLING - 0.5
            for p in silhouette(thing.look.category)
        ]
        cv2.fillPoly(fine, [np.round(p * 16).astype(np.int32) for p in contours], 255, shift=4)
        coverage = cv2.resize(fine, (side, side), interpolation=cv2.INTER_AREA)
        return np.asarray(coverage, np.uint8), left, top, to_picture

    def _draw(self, image: Image, owner: NDArray[np.int16], index: int, moment: float) -> None:
        placed = self._coverage(index, moment)
        if placed is None:
            return
        coverage, left, top, to_picture = placed
        side = len(coverage)
        sprite = self._sprites[index]
        step = 2 * _SPRITE_EXTENT / len(sprite)
        to_unit = np.array([[step, 0, 0.5 * step - _SPRITE_EXTENT], [0, step, 0.5 * step - _SPRITE_EXTENT], [0, 0, 1]])
        matrix = to_picture @ to_unit
        matrix[:, 2] -= np.array([left, top]) + 0.5
        colour = cv2.warpAffine(sprite, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        ramp = np.linspace(1.1, 0.9, side, dtype=np.float32)
        colour = colour * (0.5 * (ramp[:, None] + ramp[None]))[..., None]  # light from the upper left of the picture
        alpha = coverage.astype(np.float32) / 255
        reach = self._shadow_reach()
        shadow = np.roll(cv2.blur(alpha, (reach, reach)), (reach // 2, reach // 2), axis=(0, 1)) * np.float32(_SHADOW)
        inner, outer = _overlap(coverage.shape, left, top, owner.shape)
        below = image[outer] * (1 - shadow[inner][..., None])
        image[outer] = below + (colour[inner] - below) * alpha[inner][..., None]
        owner[outer][coverage[inner] >= 128] = index

    def _shadow_reach(self) -> int:
        return max(2, round(0.035 * self.height))


def render_video(
    seed: int, index: int, frames: int, size: tuple[int, int] = (192, 320), frame_step: int = 1, crowded: float = 0.0
) -> RenderedVideo:
    """Render video ``index`` of the world ``seed``: frame ``t`` shows moment ``t * frame_step``.

    Args:
        seed: seed of the world, >= 0.
        index: number of the video, >= 0.
        frames: number of frames T, >= 1.
        size: (height, width) in pixels.
        frame_step: moments between frames; a video with step 2 is every second frame of the one with twice the frames.
        crowded: share of videos that are made hard to track (see ``sample_scene``).

    Raises: DataError for a number out of range.
    """
    check_integer("seed", seed, 0)
    check_integer("index", index, 0)
    check_video(frames, size, frame_step)
    check_share("crowded", crowded)
    scene = sample_scene(seed, index, size[1] / size[0], frames * frame_step, crowded)
    return _with_masks(scene, list(render_frames(scene, size, frames, frame_step)))


def render_moment(scene: Scene, size: tuple[int, int], moment: float) -> RenderedVideo:
    """One picture of ``scene`` as a video of one frame; ``size`` is (height, width) in pixels."""
    return _with_masks(scene, [Renderer(scene, size).frame(moment)])


def _with_masks(scene: Scene, pictures: list[RenderedFrame]) -> RenderedVideo:
    owner = np.stack([p.owner for p in pictures])
    masks = owner[None] == np.arange(len(scene.things))[:, None, None, None]
    masks &= (masks.sum((2, 3)) >= MIN_VISIBLE)[:, :, None, None]
    return RenderedVideo(
        scene=scene,
        frames=np.stack([p.image for p in pictures]),
        masks=masks,
        categories=tuple(thing.look.category for thing in scene.things),
        stuff=np.stack([p.stuff for p in pictures]),
    )


def render_frames(scene: Scene, size: tuple[int, int], frames: int, frame_step: int = 1) -> Iterator[RenderedFrame]:
    """Draw ``frames`` pictures of ``scene``, ``frame_step`` moments apart."""
    renderer = Renderer(scene, size)
    for t in range(frames):
        yield renderer.frame(float(t * frame_step))


def _sprite(look: Look, height: int) -> Image:
    """Texture of a thing with a dark rim and a soft bulge, ``(S, S, 3)`` over ``[-1.1, 1.1]`` squared of its unit circle."""
    size = max(32, round(0.5 * height))
    axis = ((np.arange(size) + 0.5) / size * 2 - 1) * _SPRITE_EXTENT
    x, y = np.meshgrid(axis, axis)
    fill = np.zeros((size, size), np.uint8)
    contours = [((p / _SPRITE_EXTENT + 1) / 2 * size - 0.5) * 16 for p in silhouette(look.category)]
    cv2.fillPoly(fill, [np.round(p).astype(np.int32) for p in contours], 1, shift=4)
    depth = cv2.distanceTransform(fill, cv2.DIST_L2, 3) * (2 * _SPRITE_EXTENT / size)  # in radii
    rim = np.clip(depth / 0.07, 0, 1)
    bulge = np.clip(depth / 0.35, 0, 1)
    shade = 0.5 + 0.4 * rim + 0.14 * bulge
    return (thing_texture(look, x, y) * shade[..., None]).astype(np.float32)


def _overlap(
    window: tuple[int, ...], x: int, y: int, picture: tuple[int, ...]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Slices of a window and of the picture for the part of the window that lies in the picture."""
    y0, x0 = max(y, 0), max(x, 0)
    y1, x1 = min(y + window[0], picture[0]), min(x + window[1], picture[1])
    return (slice(y0 - y, y1 - y), slice(x0 - x, x1 - x)), (slice(y0, y1), slice(x0, x1))
