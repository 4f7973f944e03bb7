"""The video instance data sets in Detectron2's catalogs, for code that looks them up there; files are read when asked for."""

from collections.abc import Iterable
from functools import partial
from typing import Any

from dense.data.datasets.video_instances import DatasetSource, dataset_names, resolve_dataset
from dense.data.formats.youtube_vis import Category, VideoDataset, VideoRecord
from dense.errors import DependencyError
from dense.structures import rle as rle_codec

__all__ = ["register_with_detectron2", "video_dicts"]


def register_with_detectron2(own: Iterable[str] = ()) -> list[str]:
    """Enter all known data sets into ``DatasetCatalog`` and ``MetadataCatalog``; names that are there already stay as they are.

    Args:
        own: further names as ``resolve_dataset`` takes them (``ANNOTATIONS.json:IMAGE_FOLDER``).

    Returns: the names that were added. Metadata: ``json_file``, ``image_root``, ``evaluator_type`` ("ytvis"), ``thing_classes``
    and ``thing_dataset_id_to_contiguous_id`` (from the published table, and from the file once it has been read).
    Raises: DependencyError without Detectron2; ConfigError for an unknown name.
    """
    try:
        from detectron2.data import DatasetCatalog, MetadataCatalog
    except ImportError as error:
        raise DependencyError("Detectron2 is not installed; `dense doctor --install-detectron2` gets it.") from error
    added = []
    for name in (*dataset_names(), *own):
        if name in DatasetCatalog:
            continue
        source = resolve_dataset(name)
        DatasetCatalog.register(name, partial(_load, source))
        facts = {"json_file": str(source.json_path), "image_root": str(source.image_root), "evaluator_type": "ytvis"}
        MetadataCatalog.get(name).set(**facts)
        if source.category_names is not None:
            _set_categories(name, [Category(k + 1, category) for k, category in enumerate(source.category_names)])
        added.append(name)
    return added


def _set_categories(name: str, categories: Iterable[Category]) -> None:
    from detectron2.data import MetadataCatalog

    categories = list(categories)
    # Not `Metadata.set`: it forbids a second value, but the file may differ from the published table.
    MetadataCatalog.get(name).__dict__.update(
        thing_classes=[category.name for category in categories],
        thing_dataset_id_to_contiguous_id={category.id: rank for rank, category in enumerate(categories)},
    )


def _load(source: DatasetSource) -> list[dict[str, Any]]:
    dataset = source.read()
    _set_categories(source.name, dataset.categories)
    return video_dicts(dataset)


def video_dicts(dataset: VideoDataset) -> list[dict[str, Any]]:
    """One dictionary per video, in the form that Detectron2 projects for video use.

    Returns: ``file_names`` (T paths), ``height``, ``width`` (pixels), ``length`` (T), ``video_id``, and where the file is
    annotated ``annotations``: T lists of objects with ``id``, ``category_id`` (contiguous), ``iscrowd``, ``segmentation``
    (RLE), ``bbox`` (x, y, width, height in pixels) and ``bbox_mode``.
    """
    return [_video_dict(dataset, video) for video in dataset.videos]


def _video_dict(dataset: VideoDataset, video: VideoRecord) -> dict[str, Any]:
    from detectron2.structures import BoxMode

    record: dict[str, Any] = {
        "file_names": [str(path) for path in dataset.frame_paths(video)],
        "height": video.height,
        "width": video.width,
        "length": video.length,
        "video_id": video.id,
    }
    if dataset.has_annotations:
        frames: list[list[dict[str, Any]]] = [[] for _ in range(video.length)]
        for track in video.tracks:
            shared = {
                "id": track.id,
                "category_id": dataset.contiguous_id(track.category_id),
                "iscrowd": int(track.iscrowd),
                "bbox_mode": BoxMode.XYWH_ABS,
            }
            for objects, mask in zip(frames, track.segmentations, strict=True):
                if mask is not None:
                    objects.append({**shared, "segmentation": mask, "bbox": rle_codec.bounding_box(mask)})
        record["annotations"] = frames
    return record
