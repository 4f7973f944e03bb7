"""Reading a cache of clips: samples of any shard by (data set, epoch, index)."""

import bisect
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch.utils.data import Dataset

from dense.data.clip_cache.keys import CacheKeys
from dense.data.clip_cache.records import from_tensors
from dense.errors import DataError
from dense.io import read_json

__all__ = ["FORMAT", "INDEX", "CachedClips", "ClipCache"]

FORMAT = 1
INDEX = "cache.json"
_TENSORS = ("queries", "mask_features", "labels", "ids", "sizes", "masks", "facts")


class ClipCache:
    """A whole cache; shards are mapped into memory when first asked for.

    Args:
        folder: of the cache.

    Raises: DataError if there is none, it is damaged, or it was never finished.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / INDEX
        if not path.is_file():
            raise DataError(f"{folder}: no {INDEX} there. Make the cache with cache_segmenter.py, or set DATASETS.CACHE ''.")
        facts = read_json(path)
        try:
            if facts["format"] != FORMAT:
                raise DataError(f"{path}: format {facts['format']}, expected {FORMAT}. Make the cache again.")
            self.keys = CacheKeys(**facts["keys"])
            self.sets: dict[str, int] = dict(facts["sets"])
            self.copies = int(facts["copies"])
            self._files = [folder / str(shard["file"]) for shard in facts["shards"]]
            self._ends = list(accumulate(int(shard["samples"]) for shard in facts["shards"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: is not the index of a cache ({error!r}). Make the cache again.") from error
        self._open: dict[Path, Any] = {}
        done, wanted = self._ends[-1] if self._ends else 0, self.copies * sum(self.sets.values())
        if done != wanted:
            raise DataError(f"{folder}: {done} of {wanted} clips are there. Finish it with the command that began it.")

    def sample(self, source: int, copy: int, index: int) -> dict[str, Any]:
        """One clip (see ``from_tensors``), and which ``segmenter`` made it.

        Raises: DataError naming the shard if it cannot be read.
        """
        counts = list(self.sets.values())
        position = copy * sum(counts) + sum(counts[:source]) + index
        path = self._files[bisect.bisect_right(self._ends, position)]
        try:
            if path not in self._open:
                self._open[path] = safe_open(path, framework="pt")
            shard = self._open[path]
            tensors = {name: shard.get_tensor(f"{copy}.{source}.{index}.{name}") for name in _TENSORS}
            return {**from_tensors(tensors), "segmenter": self.keys.weights, "cache": str(self.folder)}
        except (OSError, SafetensorError, ValueError, KeyError, RuntimeError) as error:
            raise DataError(f"{path}: cannot be read ({error}). Remove the cache and make it again.") from error

    def __getstate__(self) -> dict[str, Any]:
        """Worker processes open the shards themselves."""
        return {**self.__dict__, "_open": {}}


@dataclass(frozen=True)
class CachedClips(Dataset[dict[str, Any]]):
    """One training set of a cache; epoch e gives copy e modulo K.

    Args:
        cache: the cache.
        source: number of the data set in it.
    """

    cache: ClipCache
    source: int

    def __len__(self) -> int:
        return list(self.cache.sets.values())[self.source]

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        epoch, index = key
        return self.cache.sample(self.source, epoch % self.cache.copies, index)
