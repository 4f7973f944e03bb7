"""Embeddings of words on disk, found again only for the same weights, tokenizer, templates and words."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dense.io import atomic_write

__all__ = ["EmbeddingCache"]

logger = logging.getLogger(__name__)

_FORMAT = "1"


class EmbeddingCache:
    """One file per tower and templates, with a row per word.

    The file's name is a hash of the tower's fingerprint (weights, tokenizer, settings) and the templates, so another tower
    never reads it; words are compared letter by letter. Files are replaced as a whole: of two processes that write at once
    the later one wins, and the other's words are computed again when they are next needed. A damaged file is passed over
    with a warning.

    Args:
        folder: where the files are; made when the first is written.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def path(self, fingerprint: str, sentences: Sequence[str]) -> Path:
        """The file of a tower and templates."""
        key = json.dumps([_FORMAT, fingerprint, list(sentences)])
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()}.safetensors"

    def read(self, path: Path) -> dict[str, np.ndarray]:
        """Word → embedding ``(D,)`` float32; empty if there is no such file, or it is damaged."""
        from safetensors import SafetensorError, safe_open

        if not path.is_file():
            return {}
        try:
            with safe_open(path, "numpy") as file:
                words = json.loads(file.metadata()["words"])
                rows = file.get_tensor("embeddings")
            if rows.ndim != 2 or len(rows) != len(words) or not np.isfinite(rows).all():
                raise ValueError("other rows than words")
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("%s: damaged, its embeddings are computed again (%s)", path, error)
            return {}
        return dict(zip(words, rows, strict=True))

    def add(self, path: Path, found: Mapping[str, np.ndarray]) -> None:
        """Write words beside those that the file has. Raises: DataError if the folder cannot be written."""
        from safetensors.numpy import save

        merged = {**self.read(path), **found}
        rows = np.stack(list(merged.values())).astype(np.float32)
        content = save({"embeddings": rows}, metadata={"words": json.dumps(list(merged))})
        with atomic_write(path, "wb") as stream:
            stream.write(content)
