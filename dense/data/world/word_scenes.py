"""One picture of the world of words: pixels and masks, the category of each thing, and what captions may say of it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dense.data.world.captions import CaptionedThing, write_captions
from dense.data.world.image_writer import MOMENTS, ImageWorldParameters
from dense.data.world.parameters import VALID_OFFSET
from dense.data.world.scene import Scene, relate, sample_scene
from dense.data.world.words import WordCategory, draw_word_looks, word_category

if TYPE_CHECKING:
    from dense.data.world.render import RenderedVideo

__all__ = ["CAPTIONS_PER_IMAGE", "WordPicture", "render_words"]

CAPTIONS_PER_IMAGE = 3
_LEAST_SEEN = 0.1  # captions name a thing that shows this share of the circle around it
_SMALL, _LARGE = 0.15, 0.19  # radii in picture heights


@dataclass(frozen=True)
class WordPicture:
    """A picture.

    Attributes:
        picture: video of one frame; its ``masks`` are in the order of ``categories``.
        categories: of all things of the scene, also of those that cannot be seen (their mask is empty).
        captions: ``CAPTIONS_PER_IMAGE`` sentences.
        index: of the scene.
    """

    picture: "RenderedVideo"
    categories: tuple[WordCategory, ...]
    captions: tuple[str, ...]
    index: int


def render_words(parameters: ImageWorldParameters, split: str, number: int) -> WordPicture:
    """Picture ``number`` of a split: a function of the seed, the size and the number alone."""
    from dense.data.world.render import render_moment

    index = number + (VALID_OFFSET if split == "valid" else 0)
    scene = sample_scene(parameters.seed, index, parameters.width / parameters.height, MOMENTS, draw_looks=draw_word_looks)
    moment = float(np.random.default_rng([parameters.seed, index, 4]).uniform(0, MOMENTS - 1))
    picture = render_moment(scene, (parameters.height, parameters.width), moment)
    categories = tuple(word_category(thing.look) for thing in scene.things)
    areas = [float(area) / parameters.height**2 for area in picture.masks[:, 0].sum((1, 2))]
    things = _captioned(scene, moment, categories, areas)
    rng = np.random.default_rng([parameters.seed, index, 6])
    captions = write_captions(things, scene.layout.names, CAPTIONS_PER_IMAGE, rng)
    return WordPicture(picture, categories, captions, index)


def _captioned(scene: Scene, moment: float, categories: tuple[WordCategory, ...], areas: list[float]) -> list[CaptionedThing]:
    """What captions may say of the things that show enough; ``areas`` of their visible parts in squared picture heights."""
    placed: list[tuple[int, tuple[float, float, float, float]]] = []
    for k, (thing, area) in enumerate(zip(scene.things, areas, strict=True)):
        pose = thing.trajectory.at(moment)
        x, y, zoom = scene.to_picture(pose.x, pose.y, moment)
        if area >= _LEAST_SEEN * np.pi * (pose.radius * zoom) ** 2:
            placed.append((k, (x, y, pose.radius * zoom, pose.depth)))
    things = []
    for rank, (k, place) in enumerate(placed):
        look = scene.things[k].look
        size = "small" if place[2] < _SMALL else "large" if place[2] > _LARGE else "medium"
        relation = None
        if len(placed) > 1:
            other = (rank + 1) % len(placed)
            (found,) = relate(rank, other, place, placed[other][1])
            relation = found.predicate, other
        colours = () if look.texture == "plain" else (look.colour, look.second_colour)
        things.append(CaptionedThing(categories[k], colours, size, relation))
    return things
