"""Results of a stream on disk: JSON Lines as it goes, the YouTube-VIS results form at the end."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from dense.errors import DataError
from dense.io import write_json
from dense.structures import FrameResult

__all__ = ["JSONLinesWriter", "write_tracks"]


class JSONLinesWriter:
    """First line: ``{"source", "categories"}``; then one line per frame, flushed, so that a killed run loses nothing.

    A frame's line: ``{"frame", "time_s", "height", "width", "objects": [{"track_id", "category", "label", "score", "rle"}]}``.
    """

    def __init__(self, path: str | os.PathLike[str], source: str, categories: Sequence[str]) -> None:
        self.path = Path(path)
        self.header = {"source": source, "categories": list(categories)}
        self.categories = categories
        self._file: IO[str] | None = None

    def __enter__(self) -> "JSONLinesWriter":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
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
                self._file = self.path.open("w", encoding="utf-8")
                self._file.write(json.dumps(self.header, ensure_ascii=False) + "\n")
            self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
            self._file.flush()
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written ({error.strerror}). Frames so far are kept.") from error

    def _name(self, label: int) -> str:
        return self.categories[label] if 0 <= label < len(self.categories) else f"category {label}"


def write_tracks(lines: str | os.PathLike[str], path: str | os.PathLike[str], video_id: int = 1) -> None:
    """Turn a JSON Lines file into the YouTube-VIS results form.

    Each track becomes one entry; label and score are those of the last frame that shows it; ``category_id`` is the label + 1.
    """
    tracks: dict[int, dict[str, Any]] = {}
    frames = 0
    with Path(lines).open(encoding="utf-8") as file:
        next(file, None)  # header
        for text in file:
            for item in json.loads(text)["objects"]:
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
