"""Kinds of data sets (DATASETS.DATASET_TYPE): what each kind's names mean."""

from collections.abc import Callable, Sequence
from typing import Any

from dense.data.datasets.captions import caption_names, resolve_captions
from dense.data.datasets.images import (
    PanopticSource,
    SemanticSource,
    image_dataset_kinds,
    resolve_instances,
    resolve_panoptic,
    resolve_semantic,
)
from dense.data.datasets.open_vocabulary import federated_names, resolve_federated
from dense.data.datasets.sources import split_limit
from dense.data.datasets.unlabelled import resolve_unlabelled, unlabelled_names
from dense.data.datasets.video_instances import dataset_names, resolve_dataset
from dense.data.datasets.video_maps import (
    PanopticVideoSource,
    SemanticVideoSource,
    VideoMapSource,
    resolve_panoptic_videos,
    resolve_semantic_videos,
    things_first,
    video_map_kinds,
)
from dense.errors import ConfigError
from dense.registry import nearest

__all__ = ["KINDS", "check_kind", "class_names", "find_dataset", "thing_classes", "with_kinds"]

KINDS: dict[str, Callable[[str], Any]] = {
    "video_instance": resolve_dataset,
    "video_panoptic": resolve_panoptic_videos,
    "video_semantic": resolve_semantic_videos,
    "image_instance": resolve_instances,
    "image_federated": resolve_federated,
    "image_panoptic": resolve_panoptic,
    "image_semantic": resolve_semantic,
    "image_views": resolve_unlabelled,
    "image_captions": resolve_captions,
}
"""Kind → function from a name to its source (``read()``, ``category_names``; pictures for pretraining have none)."""


def check_kind(kind: str, key: str) -> None:
    """Raise ConfigError naming ``key`` (of the configuration) unless ``kind`` is known."""
    if kind not in KINDS:
        raise ConfigError(f"{key}: {kind!r} is no kind of data set.{nearest(kind, list(KINDS))} Expected {', '.join(KINDS)}.")


def find_dataset(name: str, kind: str) -> Any:  # noqa: ANN401  each kind has its own source
    """The source of a data set.

    Args:
        name: registered, or one's own data in the form of the kind.
        kind: one of ``KINDS``.

    Raises: ConfigError for an unknown kind or name.
    """
    check_kind(kind, "DATASETS.DATASET_TYPE")
    return KINDS[kind](name)


def class_names(name: str, kind: str) -> tuple[str, ...]:
    """Names in the order of a model's classes: those of the published table, else those of the files.

    Raises: ConfigError for an unknown kind or name; DataError if one's own files cannot be read.
    """
    source = find_dataset(name, kind)
    if isinstance(source, VideoMapSource):
        return source.class_names
    names = source.category_names
    return tuple(source.read().category_names if names is None else names)


def with_kinds(names: Sequence[str], kinds: Sequence[str]) -> list[tuple[str, str]]:
    """Each name with its kind.

    A registered name has the kind it is registered with, whatever ``kinds`` says: official image configurations do not state
    any. For other names the last kind stands for all further ones.
    Raises: ConfigError without kinds.
    """
    if names and not kinds:
        raise ConfigError(f"DATASETS.DATASET_TYPE: empty, expected one of {', '.join(KINDS)} per data set.")
    registered = {**image_dataset_kinds(), **video_map_kinds(), **dict.fromkeys(dataset_names(), "video_instance")}
    registered |= dict.fromkeys(federated_names(), "image_federated")
    registered |= dict.fromkeys(unlabelled_names(), "image_views") | dict.fromkeys(caption_names(), "image_captions")
    return [(name, registered.get(split_limit(name)[0], kinds[min(index, len(kinds) - 1)])) for index, name in enumerate(names)]


def thing_classes(name: str, kind: str) -> frozenset[int] | None:
    """Class indices that have instances; ``None`` = all (instance data sets).

    Raises: ConfigError for an unknown name, or a semantic set, which does not say; DataError if one's own panoptic file cannot
        be read.
    """
    source = find_dataset(name, kind)
    if isinstance(source, SemanticSource | SemanticVideoSource):
        raise ConfigError(f"data set {name!r}: a semantic data set does not say which classes are things.")
    if not isinstance(source, PanopticSource | PanopticVideoSource):
        return None
    categories = source.categories if source.categories is not None else source.read().categories
    if isinstance(source, PanopticVideoSource):
        classes = things_first(categories)
        return frozenset(classes[category.id] for category in categories if category.isthing)
    return frozenset(rank for rank, category in enumerate(categories) if category.isthing)
