"""Sentences around a word: the 80 templates of CLIP's ImageNet prompts, lower-cased (DITO §9), and a few for small models."""

from collections.abc import Sequence
from itertools import product

from dense.config.checks import check_choice
from dense.errors import ConfigError

__all__ = ["TEMPLATES", "fill", "templates"]

SLOT = "{}"

_PHOTO = [
    "bad",
    "low resolution",
    "cropped",
    "bright",
    "dark",
    "close-up",
    "black and white",
    "pixelated",
    "jpeg corrupted",
    "blurry",
    "good",
]
_LOOK = ["hard to see", "clean", "dirty", "cool", "nice", "weird", "small", "large"]
_ART = ["sculpture", "rendering", "tattoo", "drawing", "painting", "doodle", "sketch", "rendition"]
_MATTER = ["embroidered", "plastic", "origami", "toy", "cartoon", "plushie"]

_IMAGENET: tuple[str, ...] = (
    *(f"a {kind} photo of {article} {{}}." for kind, article in product(_PHOTO, ("a", "the"))),
    *(f"a photo of {article} {{}}." for article in ("a", "the")),
    *(f"a photo of {article} {look} {{}}." for look, article in product(_LOOK, ("a", "the"))),
    *(f"a photo of {whose} {{}}." for whose in ("many", "my", "one")),
    *(f"a {kind} of {article} {{}}." for kind, article in product(_ART, ("a", "the"))),
    *(f"{kind} of {article} {{}}." for kind, article in product(("graffiti", "art"), ("a", "the"))),
    *(f"itap of {whose} {{}}." for whose in ("a", "the", "my")),
    *(f"{article} {matter} {{}}." for matter, article in product(_MATTER, ("a", "the"))),
    *(f"{article} {{}} in a video game." for article in ("a", "the")),
)

#: by their name in MODEL.DITO.TEXT.TEMPLATES
TEMPLATES: dict[str, tuple[str, ...]] = {
    "imagenet": _IMAGENET,
    "tiny": ("a photo of a {}.", "a photo of the {}.", "a drawing of a {}.", "a bright photo of the {}."),
    "world": ("a {}.", "a picture of a {}.", "look at a {}.", "you can see a {}."),  # in words that the world's captions have
    "word": (SLOT,),
}


def templates(name: str) -> tuple[str, ...]:
    """The templates of a name. Raises: ConfigError with the nearest name."""
    return TEMPLATES[check_choice("templates", name, list(TEMPLATES))]


def fill(sentences: Sequence[str], word: str) -> list[str]:
    """A word in each template, in lower case.

    Args:
        sentences: each with one place ``{}`` for the word.
        word: any text; braces in it are letters like others.

    Raises: ConfigError for no template, or one without exactly one place.
    """
    if not sentences:
        raise ConfigError("templates: none, expected at least one, such as 'a photo of a {}.'.")
    for sentence in sentences:
        if sentence.count(SLOT) != 1:
            raise ConfigError(f"templates: {sentence!r} has {sentence.count(SLOT)} places {{}} for the word, expected one.")
    return [sentence.replace(SLOT, word).lower() for sentence in sentences]
