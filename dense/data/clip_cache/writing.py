"""Writing a cache of clips shard by shard; what is written stays if it is interrupted, and the next run goes on from there."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from dense.data.clip_cache.keys import CacheKeys
from dense.data.clip_cache.reading import FORMAT, INDEX
from dense.data.clip_cache.records import to_tensors
from dense.errors import ConfigError
from dense.io import atomic_write, read_json, write_json

__all__ = ["CacheWriter"]

_SHARD_BYTES = 256 * 2**20


class CacheWriter:
    """Adds clips in order: copy after copy, data set after data set, sample after sample.

    Args:
        folder: of the cache; made if missing.
        keys: what it depends on.
        sets: name of each training set -> its number of samples.
        copies: K.
        precision: of queries and features.
        shard_bytes: a shard is closed when it has reached this size.

    Raises: ConfigError if the folder holds another cache.
    """

    def __init__(
        self,
        folder: Path,
        keys: CacheKeys,
        sets: Mapping[str, int],
        copies: int,
        precision: torch.dtype = torch.float16,
        shard_bytes: int = _SHARD_BYTES,
    ) -> None:
        self.folder, self.precision, self.shard_bytes = folder, precision, shard_bytes
        self.samples = [(c, s, i) for c in range(copies) for s, count in enumerate(sets.values()) for i in range(count)]
        self._facts = {
            "format": FORMAT,
            "keys": keys.as_json(),
            "sets": dict(sets),
            "copies": copies,
            "precision": str(precision).removeprefix("torch."),
        }
        self._shards: list[dict[str, Any]] = self._continued()
        self._tensors: dict[str, Tensor] = {}
        self._size = self._count = 0

    @property
    def written(self) -> int:
        """Number of samples in finished shards."""
        return sum(shard["samples"] for shard in self._shards)

    @property
    def left(self) -> Sequence[tuple[int, int, int]]:
        """(copy, data set, sample) of all that are still to be added, in order."""
        return self.samples[self.written + self._count :]

    def add(self, record: Mapping[str, Any]) -> None:
        """Add the next sample (see ``to_tensors``)."""
        copy, source, index = self.left[0]
        for name, tensor in to_tensors(record, self.precision).items():
            self._tensors[f"{copy}.{source}.{index}.{name}"] = tensor.contiguous()
            self._size += tensor.numel() * tensor.element_size()
        self._count += 1
        if self._size >= self.shard_bytes or not self.left:
            self._close_shard()

    def _close_shard(self) -> None:
        name = f"shard-{len(self._shards):05d}.safetensors"
        with atomic_write(self.folder / name, "wb") as stream:
            stream.write(save(self._tensors))
        self._shards.append({"file": name, "samples": self._count})
        write_json(self.folder / INDEX, {**self._facts, "shards": self._shards}, indent=1)
        self._tensors, self._size, self._count = {}, 0, 0

    def _continued(self) -> list[dict[str, Any]]:
        path = self.folder / INDEX
        if not path.is_file():
            return []
        known = read_json(path)
        shards = known.pop("shards", []) if isinstance(known, dict) else []
        if known != self._facts:
            raise ConfigError(
                f"{self.folder}: holds a cache made with other settings, data or weights. Give another --output, or remove it."
            )
        return list(shards)
