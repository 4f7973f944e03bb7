"""The procedural world: textured shapes moving over textured stuff, deterministic by seed, with exact ground truth.

``writer``      ``make_video_world``: train and valid videos in the YouTube-VIS layout (start here)
``image_writer`` ``make_image_world``: single pictures as COCO instances, COCO panoptic and label maps
``words_writer`` ``make_word_world``: pictures with captions, COCO and LVIS annotations with base and novel categories
``words``       the categories of two words, and looks that fit them; ``word_scenes`` one picture, ``captions`` its sentences
``map_writer``   ``make_map_world``: videos in the layouts of VIPSeg and VSPW
``folder``      whose a folder is, and whether it is complete
``jobs``        rendering in several processes
``scene``       the scene graph sampled from (seed, index); ``Scene.describe()`` gives it in words
``render``      ``render_video``: frames, visible masks and stuff map of one scene
``motion``      paths of things and camera over time
``shapes``      silhouettes of the categories
``textures``    colours of things and stuff
``categories``  tables: things, stuff, colours, textures
``pictures``    frames as JPEG files
``parameters``  what the bytes depend on, and its checks
``preview``     ground truth drawn into a video or a contact sheet
``command``     the command line

OpenCV is imported by ``render``, ``textures`` and ``preview`` only, so these names load when first used.
"""

from typing import TYPE_CHECKING, Any

from dense.data.world.categories import COLOURS, STUFF, TEXTURES, THINGS, VOID
from dense.data.world.image_writer import ImageWorldReport, make_image_world
from dense.data.world.map_writer import make_map_world
from dense.data.world.scene import Scene, SceneDescription, sample_scene
from dense.data.world.words import WORD_CATEGORIES
from dense.data.world.words_writer import make_word_world
from dense.data.world.writer import WorldReport, make_video_world

if TYPE_CHECKING:
    from dense.data.world.render import RenderedFrame, RenderedVideo, Renderer, render_frames, render_video

__all__ = [
    "COLOURS",
    "STUFF",
    "TEXTURES",
    "THINGS",
    "VOID",
    "WORD_CATEGORIES",
    "ImageWorldReport",
    "RenderedFrame",
    "RenderedVideo",
    "Renderer",
    "Scene",
    "SceneDescription",
    "WorldReport",
    "make_image_world",
    "make_map_world",
    "make_video_world",
    "make_word_world",
    "render_frames",
    "render_video",
    "sample_scene",
]

_LAZY = {"RenderedFrame", "RenderedVideo", "Renderer", "render_frames", "render_video"}


def __getattr__(name: str) -> Any:  # noqa: ANN401  any of the lazy names
    if name in _LAZY:
        from dense.data.world import render

        return getattr(render, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
