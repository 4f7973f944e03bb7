"""Training and held-out part of one video annotation file, and all categories as one."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from dense.data.formats.youtube_vis import parse_youtube_vis
from dense.errors import DataError
from dense.registry import nearest

__all__ = ["merge_categories", "split_videos", "video_names"]


def video_names(data: Mapping[str, Any]) -> dict[int, str]:
    """Name of each video id: the folder of its first frame, or the id where its frames have no folder of their own."""
    names = {}
    for video in data["videos"]:
        folder = PurePosixPath(video["file_names"][0].replace("\\", "/")).parent
        names[video["id"]] = str(folder) if folder != PurePosixPath() else str(video["id"])
    return names


def split_videos(
    data: Mapping[str, Any], held_out: Sequence[str], path: str = "annotations"
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Divide the videos of a YouTube-VIS file; everything else (categories, licences) goes into both parts.

    Args:
        data: what the JSON file holds; it is not changed.
        held_out: names (see :func:`video_names`) or ids of the videos of the second part.
        path: its name in messages.

    Returns: the part to train on and the part that is held out.
    Raises: DataError for a file that is not sound, for a name that it does not have, and if nothing is left to train on.
    """
    parse_youtube_vis(data, path)
    names = video_names(data)
    known = {**{str(identity): identity for identity in names}, **{name: identity for identity, name in names.items()}}
    for name in held_out:
        if name not in known:
            raise DataError(
                f"{path}: has no video {name!r}.{nearest(name, list(known))} Its videos: {_shortened(names.values())}."
            )
    chosen = {known[name] for name in held_out}
    if chosen >= set(names):
        raise DataError(f"{path}: all {len(names)} videos are held out, nothing is left to train on. Hold out fewer.")
    return _part(data, set(names) - chosen), _part(data, chosen)


def merge_categories(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The same annotations with one category for all, id 1: objects as such, whatever they are."""
    annotations = [{**annotation, "category_id": 1} for annotation in data.get("annotations") or ()]
    merged = {**data, "categories": [{"id": 1, "name": name, "supercategory": name}]}
    return {**merged, "annotations": annotations} if data.get("annotations") is not None else merged


def _part(data: Mapping[str, Any], videos: set[int]) -> dict[str, Any]:
    part = {**data, "videos": [video for video in data["videos"] if video["id"] in videos]}
    if data.get("annotations") is not None:
        part["annotations"] = [annotation for annotation in data["annotations"] if annotation["video_id"] in videos]
    return part


def _shortened(names: Iterable[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:8]) + (f", … ({len(listed)} in all)" if len(listed) > 8 else "")
