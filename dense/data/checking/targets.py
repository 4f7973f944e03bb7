"""From what the user typed to the files of each data set: registered names, annotation files, folders, one's own forms."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from dense.data.datasets.images import InstanceSource, PanopticSource, SemanticSource, image_dataset_kinds, resolve_semantic
from dense.data.datasets.kinds import find_dataset
from dense.data.datasets.open_vocabulary import FederatedSource, federated_names
from dense.data.datasets.video_instances import DatasetSource, dataset_names
from dense.data.datasets.video_maps import PanopticVideoSource, SemanticVideoSource, video_map_kinds
from dense.errors import ConfigError, DataError
from dense.io import read_json
from dense.registry import nearest

__all__ = ["FORMATS", "Target", "find_targets", "mapping_at", "numbered_at", "record_at"]

FORMATS = ("coco", "coco-panoptic", "youtube-vis", "vipseg", "vspw", "semantic")
"""Formats that can be checked; OVIS is ``youtube-vis``."""

_KIND_FORMATS = {"image_instance": "coco", "image_panoptic": "coco-panoptic", "image_semantic": "semantic"}
_VSPW_SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Target:
    """One data set to check.

    Attributes:
        format: one of ``FORMATS``.
        source: annotation file; ``vspw``: the list of videos; ``semantic``: folder of label maps.
        pictures: folder of the pictures (``None``: the reader's default).
        maps: folder of the PNG files (``None``: the reader's default, or the format has none).
        check_pictures: also look at the pictures.
        decode: read every pixel of them, not only headers.
        semantic: names and suffixes of a folder of label maps.
    """

    format: str
    source: str
    pictures: Path | None = None
    maps: Path | None = None
    check_pictures: bool = True
    decode: bool = True
    semantic: SemanticSource | None = None


def find_targets(
    name: str, format: str | None = None, frames_dir: str | None = None, maps_dir: str | None = None
) -> list[Target]:
    """The data sets that ``name`` means: one, or for a folder as many as it holds.

    Args:
        name: a registered name; an annotation file; a folder of VSPW or with annotation files; ``ANNOTATIONS.json:PICTURES``,
            ``ANNOTATIONS.json:PNG_FOLDER:PICTURES`` or ``IMAGES:LABELS:NAMES.json`` as in configurations.
        format: one of ``FORMATS``; default: found out from the file.
        frames_dir: folder of the pictures; default: looked for near the file.
        maps_dir: folder of the PNG files; default: looked for near the file.

    Raises: ConfigError for a name that is nothing of these; DataError for a file that is no data set or cannot be read.
    """
    registered = {**image_dataset_kinds(), **video_map_kinds(), **dict.fromkeys(dataset_names(), "video_instance")}
    registered |= dict.fromkeys(federated_names(), "image_federated")
    if name in registered:
        found = [_from_source(find_dataset(name, registered[name]))]
    else:
        found = list(_from_path(name, format, list(registered)))
    if format is not None:
        found = [replace(target, format=format) for target in found]
    given = {"pictures": None if frames_dir is None else Path(frames_dir), "maps": None if maps_dir is None else Path(maps_dir)}
    chosen: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    return [replace(target, **chosen) for target in found]


def record_at(data: Any, position: str) -> Any:  # noqa: ANN401  JSON
    """What a JSON path such as ``annotations[3].segmentations[2]`` leads to; ``{}`` where it leads nowhere."""
    for field, index in re.findall(r"(\w+)|\[(\d+)\]", position):
        try:
            data = data[field] if field else data[int(index)]
        except (KeyError, IndexError, TypeError):
            return {}
    return data if data is not None else {}


def mapping_at(data: Any, position: str) -> dict[str, Any]:  # noqa: ANN401  JSON
    """As ``record_at``; ``{}`` also where something else than an object stands."""
    found = record_at(data, position)
    return found if isinstance(found, dict) else {}


def numbered_at(data: Any, field: str) -> list[tuple[int, dict[str, Any]]]:  # noqa: ANN401  JSON
    """Index and record of each object of the list ``data[field]``; empty where that is no list."""
    listed = data.get(field) if isinstance(data, dict) else None
    return [(k, record) for k, record in enumerate(listed if isinstance(listed, list) else []) if isinstance(record, dict)]


def _from_source(source: Any) -> Target:  # noqa: ANN401  each kind has its own source
    if isinstance(source, SemanticSource):
        return Target("semantic", str(source.label_root), source.image_root, source.label_root, semantic=source)
    if isinstance(source, PanopticSource):
        return Target("coco-panoptic", str(source.json_path), source.image_root, source.png_root)
    if isinstance(source, InstanceSource | FederatedSource):
        return Target("coco", str(source.json_path), source.image_root)
    if isinstance(source, DatasetSource):
        return Target("youtube-vis", str(source.json_path), source.image_root)
    if isinstance(source, PanopticVideoSource):
        return Target("vipseg", str(source.json_path), source.image_root, source.png_root)
    if isinstance(source, SemanticVideoSource):
        return Target("vspw", str(source.root / f"{source.split}.txt"))
    raise ConfigError(f"data set {source!r}: cannot be checked. Give its annotation file instead.")


def _from_path(name: str, format: str | None, known: list[str]) -> Iterator[Target]:
    path = Path(name).expanduser()
    if path.is_dir():
        yield from _from_folder(path, format)
    elif path.suffix.lower() == ".txt" and path.is_file():
        yield Target("vspw", str(path))
    elif path.is_file():
        yield _from_json(path, format)
    elif ":" in name:
        yield _from_parts(name, format)
    elif path.suffix.lower() == ".json" or "/" in name:
        raise DataError(f"{name}: no such file or folder. Expected an annotation file, a folder, or a registered name.")
    else:
        raise ConfigError(f"unknown data set {name!r}.{nearest(name, known)} Give a registered name, a file or a folder.")


def _from_parts(name: str, format: str | None) -> Target:
    """One's own data as configurations name it."""
    parts = name.split(":")
    if len(parts) == 3 and not parts[0].lower().endswith(".json"):
        return _from_source(resolve_semantic(name))
    first = Path(parts[0]).expanduser()
    if len(parts) > 3 or not all(parts) or not first.is_file():
        raise DataError(f"{name}: expected ANNOTATIONS.json:PICTURES, ANNOTATIONS.json:PNG_FOLDER:PICTURES or a file.")
    maps = Path(parts[1]).expanduser() if len(parts) == 3 else None
    target = _from_json(first, format)
    return replace(target, pictures=Path(parts[-1]).expanduser(), maps=maps or target.maps)


def _from_folder(folder: Path, format: str | None) -> Iterator[Target]:
    """VSPW lists, else every annotation file of the folder and of its sub-folder ``annotations``."""
    lists = [folder / f"{split}.txt" for split in _VSPW_SPLITS if (folder / f"{split}.txt").is_file()]
    if lists and (folder / "data").is_dir():
        for path in lists:
            yield Target("vspw", str(path))
        return
    files = [*sorted(folder.glob("*.json")), *sorted(folder.glob("annotations/*.json"))]
    found = [path for path in files if not path.name.startswith(".") and _looks_like_data(path)]
    if not found:
        raise DataError(
            f"{folder}: holds no data set. Looked for *.json and annotations/*.json with `images` or `videos`, and for data/"
            " with train.txt (VSPW)."
        )
    for path in found:
        yield _from_json(path, format)


def _looks_like_data(path: Path) -> bool:
    try:
        data = read_json(path)
    except DataError:
        return True  # a damaged file is for the check to report
    return isinstance(data, dict) and ("videos" in data or "images" in data)


def _from_json(path: Path, format: str | None) -> Target:
    try:
        data = read_json(path)
    except DataError:
        if format is None:
            raise
        data = {}  # the check reports it
    kind = format or _format_of(data, path)
    pictures = _nearby(path, _picture_names(data))
    maps = _nearby(path, _png_names(data)) if kind in ("coco-panoptic", "vipseg") else None
    return Target(kind, str(path), pictures, maps)


def _format_of(data: Any, path: Path) -> str:  # noqa: ANN401  JSON
    """The format of an annotation file, from its first records; where it has none, ``panoptic`` in its name counts."""
    named = "panoptic" in path.stem
    if isinstance(data, dict) and "videos" in data:
        first = record_at(data, "videos[0]")
        panoptic = ("images" in first or "video_id" in first) if isinstance(first, dict) and first else named
        return "vipseg" if panoptic else "youtube-vis"
    if isinstance(data, dict) and ("images" in data or "annotations" in data):
        first = record_at(data, "annotations[0]")
        panoptic = "segments_info" in first if isinstance(first, dict) and first else named
        return "coco-panoptic" if panoptic else "coco"
    raise DataError(f"{path}: is no data set, expected an object with `images` or `videos`. Give --format to check it as one.")


def _some(data: Any, field: str) -> list[Any]:  # noqa: ANN401  JSON
    """Up to 16 records of a list, spread over it: the first one may be the one that is damaged."""
    records = record_at(data, field)
    return records[:: -(-len(records) // 16)] if isinstance(records, list) and records else []


def _picture_names(data: Any) -> list[str]:  # noqa: ANN401  JSON
    """Names of some pictures of a file, relative to the folder of pictures."""
    names = [record_at(image, "file_name") for image in _some(data, "images")]
    for video in _some(data, "videos"):
        names.append(record_at(video, "file_names[0]"))
        names += [_below(video, image) for image in _some(video, "images")[:4]]
    return [name for name in names if isinstance(name, str) and name]


def _png_names(data: Any) -> list[str]:  # noqa: ANN401  JSON
    """Names of some PNGs of a panoptic file, as ``_picture_names``."""
    names = []
    for record in _some(data, "annotations"):
        names.append(record_at(record, "file_name"))
        names += [_below(record, frame) for frame in _some(record, "annotations")[:4]]
    return [name for name in names if isinstance(name, str) and name]


def _below(video: Any, frame: Any) -> str:  # noqa: ANN401  JSON
    return f"{record_at(video, 'video_id')}/{record_at(frame, 'file_name')}"


def _nearby(path: Path, names: list[str]) -> Path | None:
    """The folder near an annotation file in which most of ``names`` lie, ``None`` if none of them is found."""
    split = path.stem.rpartition("_")[2]
    inner = ("", "JPEGImages", "images", f"images/{split}", split, f"{split}/JPEGImages", path.stem, f"{path.stem}/JPEGImages")
    maps = (f"panoptic/{split}", "panomasksRGB", f"panoptic_{split}")
    candidates = [base / sub for base, sub in product((path.parent, path.parent.parent), (*inner, *maps))]
    found = [sum((folder / name).is_file() for name in names) for folder in candidates]
    return candidates[found.index(max(found))] if any(found) else None
