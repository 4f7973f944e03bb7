"""Training clips after a frozen segmenter, kept on disk: the stages after it are trained without running it again (DVIS).

A cache is a folder: ``cache.json`` and shards in the safetensors format. It holds K copies of every training sample, each
augmented anew: copy c of sample i is what a training without a cache gives in epoch c.

* ``keys``: what a cache depends on (:class:`CacheKeys`), and how one that no longer fits is refused.
* ``records``: one clip as tensors and back.
* ``writing``: :class:`CacheWriter`; an interrupted one goes on.
* ``reading``: :class:`ClipCache`, :class:`CachedClips`.
"""

from dense.data.clip_cache.keys import CacheKeys, check_weights, config_values, data_digest, weights_digest
from dense.data.clip_cache.reading import CachedClips, ClipCache
from dense.data.clip_cache.writing import CacheWriter

__all__ = [
    "CacheKeys",
    "CacheWriter",
    "CachedClips",
    "ClipCache",
    "check_weights",
    "config_values",
    "data_digest",
    "weights_digest",
]
