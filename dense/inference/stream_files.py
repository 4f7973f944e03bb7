"""Results of a stream on disk: JSON Lines as it goes, the YouTube-VIS results form at the end."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from dense.data.formats.records import integer_field, list_of_records, number, size_fields
from dense.errors import DataError, shown
from dense.io import write_json
from dense.structures import FrameResult
from dense.structures.rle import RLE, to_rle

__all__ = ["JSONLinesWriter", "write_tracks"]


class JSONLinesWriter:
    """First line: ``{"source", "categories"}``; then one line per frame, handed over whole, so that a killed run loses nothing.

    A frame's line: ``{"frame", "time_s", "height", "width", "objects": [{"track_id", "category", "label", "score", "rle"}]}``;
    of a panoptic map ``"segments": [{"id", "category", "label", "isthing", "area"}]`` instead of objects, of a semantic map
    ``"classes": [{"category", "label", "area"}]``, areas in pixels (the maps are PNG files, ``dense.inference.map_files``).
    """

    def __init__(self, path: str | os.PathLike[str], source: str, categories: Sequence[str]) -> None:
        self.path = Path(path)
        self.header = {"source": source, "categories": list(categories)}
        self.categories = categories
        self._file: IO[bytes] | None = None

    def __enter__(self) -> "JSONLinesWriter":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # a full disk was reported by `write` already
                self._file.close()

    def write(self, result: FrameResult) -> None:
        """Append one frame (the file is made with the first).

        Raises: DataError if the file cannot be written.
        """
        line = {
            "frame": result.index,
            "time_s": round(result.time_s, 6),
            "height": result.height,
            "width": result.width,
            **self._found(result),
        }
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self.path.open("wb")
                self._file.write(_line(self.header))
            self._file.write(_line(line))  # in one piece: a text file would pass it on in parts of 8 kB
            self._file.flush()
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written ({error.strerror}). Frames so far are kept.") from error

    def _found(self, result: FrameResult) -> dict[str, list[dict[str, Any]]]:
        if result.panoptic is not None:
            return {"segments": [{**vars(segment), "category": self._name(segment.label)} for segment in result.segments]}
        if result.semantic is not None:
            areas = zip(*(values.tolist() for values in np.unique(result.semantic, return_counts=True)), strict=True)
            return {"classes": [{"category": self._name(k), "label": k, "area": area} for k, area in areas]}
        objects = zip(result.track_ids, result.labels, result.scores, result.masks, strict=True)
        return {
            "objects": [
                {"track_id": i, "category": self._name(label), "label": label, "score": round(score, 5), "rle": rle}
                for i, label, score, rle in objects
            ]
        }

    def _name(self, label: int) -> str:
        return self.categories[label] if 0 <= label < len(self.categories) else f"category {label}"


def _line(value: object) -> bytes:
    return (json.dumps(value, ensure_ascii=False) + "\n").encode()


def write_tracks(lines: str | os.PathLike[str], path: str | os.PathLike[str], video_id: int = 1) -> None:
    """Turn a JSON Lines file into the YouTube-VIS results form.

    Each track becomes one entry; label and score are those of the last frame that shows it; ``category_id`` is the label + 1.
    Memory grows with the compressed masks. What a killed run left of its last line is passed over.
    Raises: DataError naming file and line if it is no such file, or the result cannot be written.
    """
    tracks: dict[int, dict[str, Any]] = {}
    frames = 0
    for objects in _objects(Path(lines)):
        for track_id, label, score, mask in objects:
            track = tracks.setdefault(track_id, {"masks": {}})
            track |= {"category_id": label + 1, "score": score}
            track["masks"][frames] = mask
        frames += 1
    results = [
        {
            "video_id": video_id,
            "category_id": track["category_id"],
            "score": track["score"],
            "segmentations": [track["masks"].get(t) for t in range(frames)],
        }
        for track in tracks.values()
    ]
    write_json(path, sorted(results, key=lambda r: -r["score"]))


def _objects(path: Path) -> Iterator[list[tuple[int, int, float, RLE]]]:
    """Track id, label, score and mask of the objects of each frame's line."""
    try:
        with path.open(encoding="utf-8") as file:
            next(file, None)  # header
            for number, text in enumerate(file, start=2):
                if not text.endswith("\n"):
                    return
                where = f"{path}: line {number}"
                try:
                    frame = json.loads(text)
                except (ValueError, RecursionError):
                    frame = None
                if not isinstance(frame, dict) or "objects" not in frame:
                    raise DataError(f"{where} is no frame of results. Run the demo again.")
                size = size_fields(frame, where)
                yield [_object(item, size, where) for item in list_of_records(frame, "objects", where)]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}).") from error


def _object(item: Mapping[str, Any], size: tuple[int, int], where: str) -> tuple[int, int, float, RLE]:
    rle = to_rle(item.get("rle"), *size, f"{where}: rle")
    if rle is None:
        raise DataError(f"{where}: `rle` is {shown(item.get('rle'))}, expected a mask.")
    label = integer_field(item, "label", where, minimum=0)
    return integer_field(item, "track_id", where), label, number(item.get("score"), f"{where}: score"), rle
