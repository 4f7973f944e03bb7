"""Images with a class per pixel, from any annotation format, for probes."""

from dataclasses import dataclass

from dense.data.datasets import find_dataset
from dense.data.mappers.image_annotations import (
    ImageAnnotations,
    InstanceAnnotations,
    PanopticAnnotations,
    SemanticAnnotations,
)
from dense.errors import ConfigError, DataError
from dense.inference.pixel_probe import IGNORED

__all__ = ["ProbeImages", "read_probe_images"]

_FORMATS = {
    "image_instance": InstanceAnnotations,
    "image_panoptic": PanopticAnnotations,
    "image_semantic": SemanticAnnotations,
}


@dataclass(frozen=True)
class ProbeImages:
    """Annotated images.

    Attributes:
        annotations: of the images.
        names: of the K classes.
        chosen: indices of the images to use.
        background: class of pixels in no region; ``IGNORED`` where regions should cover everything.
    """

    annotations: ImageAnnotations
    names: tuple[str, ...]
    chosen: range
    background: int


def read_probe_images(name: str, kind: str, most: int = 0) -> ProbeImages:
    """Find and check a data set.

    Args:
        name: registered, or paths in the form of the kind.
        kind: image_instance (what is no object becomes one more class, ``background``), image_panoptic or image_semantic.
        most: the first so many images; 0 = all.

    Raises: ConfigError for an unknown name or kind; DataError naming the file, or without images.
    """
    if kind not in _FORMATS:
        raise ConfigError(f"kind: {kind!r}, expected {', '.join(_FORMATS)}.")
    if most < 0:
        raise ConfigError(f"images: {most}, expected 0 (all) or more.")
    dataset = find_dataset(name, kind).read()
    annotations = _FORMATS[kind](dataset, dataset.images)
    if not len(annotations):
        raise DataError(f"data set {name!r}: has no image.")
    names = tuple(dataset.category_names)
    chosen = range(min(most, len(annotations)) if most else len(annotations))
    if kind == "image_instance":
        return ProbeImages(annotations, (*names, "background"), chosen, len(names))
    return ProbeImages(annotations, names, chosen, IGNORED)
