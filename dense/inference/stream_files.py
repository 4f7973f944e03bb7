"""Results of a stream on disk: JSON Lines as it goes, the YouTube-VIS results form at the end."""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from dense.errors import DataError
from dense.io import write_json
from dense.structures import FrameResult

__all__ = ["JSONLinesWriter", "write_tracks"]


class JSONLinesWriter:
    """First line: ``{"source", "categories"}``; then one line per frame, handed over whole, so that a killed run loses nothing.

    A frame's line: ``{"frame", "time_s", "height", "width", "objects": [{"track_id", "category", "label", "score", "rle"}]}``.
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
        objects = zip(result.track_ids, result.labels, result.scores, result.masks, strict=True)
        line = {
            "frame": result.index,
            "time_s": round(result.time_s, 6),
            "height": result.height,
            "width": result.width,
            "objects": [
                {"track_id": i, "category": self._name(label), "label": label, "score": round(score, 5), "rle": rle}
                for i, label, score, rle in objects
            ],
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
        for item in objects:
            track = tracks.setdefault(item["track_id"], {"masks": {}})
            track |= {"category_id": item["label"] + 1, "score": item["score"]}
            track["masks"][frames] = item["rle"]
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


def _objects(path: Path) -> Iterator[list[dict[str, Any]]]:
    """The objects of each frame's line."""
    try:
        with path.open(encoding="utf-8") as file:
            next(file, None)  # header
            for number, text in enumerate(file, start=2):
                if not text.endswith("\n"):
                    return
                try:
                    yield json.loads(text)["objects"]
                except (ValueError, KeyError, TypeError) as error:
                    raise DataError(f"{path}: line {number} is no frame of results. Run the demo again.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}).") from error
