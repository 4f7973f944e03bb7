"""A data set reduced to some of its categories; ids stay as they are, class indices become those of the rest."""

from collections.abc import Collection
from dataclasses import replace

from dense.data.formats.coco import ImageDataset
from dense.data.formats.lvis import LvisDataset

__all__ = ["federated_part", "instance_part"]


def instance_part(whole: ImageDataset, kept: Collection[int]) -> ImageDataset:
    """The categories with an id in ``kept``, and their objects; all images."""
    return replace(
        whole,
        categories=tuple(category for category in whole.categories if category.id in kept),
        images=tuple(
            replace(image, objects=tuple(item for item in image.objects if item.category_id in kept)) for image in whole.images
        ),
    )


def federated_part(whole: LvisDataset, kept: Collection[int]) -> LvisDataset:
    """As ``instance_part``, with what is said of these categories."""
    wanted = frozenset(kept)
    return LvisDataset(
        instance_part(whole.objects, wanted),
        {image: ids & wanted for image, ids in whole.negatives.items()},
        {image: ids & wanted for image, ids in whole.not_exhaustive.items()},
        {identity: frequency for identity, frequency in whole.frequencies.items() if identity in wanted},
    )
