"""Caches of segmented clips: round trip, precision, interruption, damage, staleness."""

import pytest
import torch

from dense.data.clip_cache import CachedClips, CacheKeys, CacheWriter, ClipCache, check_weights, data_digest, weights_digest
from dense.data.clip_cache.records import from_tensors, to_tensors
from dense.data.mappers.frame_targets import FrameTargets
from dense.errors import ConfigError, DataError, NonFiniteError

KEYS = CacheKeys({"INPUT.FORMAT": "'RGB'"}, {"0: a": "1" * 64, "1: b": "2" * 64}, "3" * 64, 7)
SETS = {"0: a": 3, "1: b": 2}


def clip(seed, size=(9, 13), frames=2, objects=3):
    generator = torch.Generator().manual_seed(seed)
    targets = [
        FrameTargets(
            torch.randint(0, 5, (objects,), generator=generator),
            torch.randint(-1, 9, (objects,), generator=generator),
            torch.rand(objects, size[0] + t, size[1], generator=generator) < 0.5,  # frames of different sizes
        )
        for t in range(frames)
    ]
    return {
        "image": [],
        "instances": targets,
        "queries": torch.randn(frames, 4, 6, generator=generator),
        "mask_features": torch.randn(frames, 8, 3, 5, generator=generator),
        "padded": (32, 32),
        "height": 90,
        "file_names": [f"v/{seed}/{t}.jpg" for t in range(frames)],
        "video_id": seed,
    }


def same(given, wanted, precision=torch.float16):
    assert torch.equal(given["queries"], wanted["queries"].to(precision))
    assert torch.equal(given["mask_features"], wanted["mask_features"].to(precision))
    for one, other in zip(given["instances"], wanted["instances"], strict=True):
        assert torch.equal(one.labels, other.labels)
        assert torch.equal(one.ids, other.ids)
        assert torch.equal(one.masks, other.masks)
    assert {name: given[name] for name in ("padded", "height", "file_names", "video_id")} == {
        name: wanted[name] for name in ("padded", "height", "file_names", "video_id")
    }


def write(folder, count=None, **options):
    writer = CacheWriter(folder, KEYS, SETS, 2, **options)
    for copy, source, index in writer.left[:count]:
        writer.add(clip(100 * copy + 10 * source + index))
    return writer


@pytest.mark.parametrize("objects", [0, 1, 3])
@pytest.mark.parametrize("precision", [torch.float16, torch.float32])
def test_records__round_trip__same_clip(precision, objects):
    """Catches bits of masks that shift between frames, and lost facts."""
    wanted = clip(1, objects=objects)
    same(from_tensors(to_tensors(wanted, precision)), wanted, precision)


def test_records__value_too_great__is_an_error():
    """Catches infinity from rounding to half precision."""
    wanted = clip(1)
    wanted["mask_features"][0, 0, 0, 0] = 1e6
    with pytest.raises(NonFiniteError, match="float32"):
        to_tensors(wanted, torch.float16)
    same(from_tensors(to_tensors(wanted, torch.float32)), wanted, torch.float32)


@pytest.mark.parametrize("shard_bytes", [1, 3000, 10**9])
def test_cache__any_shard_size__every_sample_in_its_place(tmp_path, shard_bytes):
    """Catches samples at the edge of a shard, of the second data set or the second copy taken for others."""
    write(tmp_path, shard_bytes=shard_bytes)
    cache = ClipCache(tmp_path)
    for source, count in enumerate(SETS.values()):
        clips = CachedClips(cache, source)
        assert len(clips) == count
        for epoch in range(5):
            for index in range(count):
                given = clips[epoch, index]
                same(given, clip(100 * (epoch % 2) + 10 * source + index))
                assert given["segmenter"] == KEYS.weights


def test_cache__interrupted__goes_on_where_it_was(tmp_path):
    """Catches shards written twice, or the sample of an unfinished shard left out."""
    write(tmp_path, count=5, shard_bytes=3000)
    with pytest.raises(DataError, match="of 10 clips are there"):
        ClipCache(tmp_path)
    assert 0 < write(tmp_path, count=0).written <= 5
    write(tmp_path, shard_bytes=3000)
    cache = ClipCache(tmp_path)
    same(cache.sample(1, 1, 1), clip(111))
    same(cache.sample(0, 1, 0), clip(100))


def test_writer__folder_of_another_cache__is_refused(tmp_path):
    """Catches a cache mixed of two."""
    write(tmp_path, count=5, shard_bytes=1)
    with pytest.raises(ConfigError, match="other settings"):
        CacheWriter(tmp_path, KEYS, SETS, 3)


@pytest.mark.parametrize("damage", ["cut", "removed", "index", "format", "missing"])
def test_cache__damaged__one_error_that_names_the_file(tmp_path, damage):
    """Catches a foreign error, or garbage taken for features."""
    write(tmp_path, shard_bytes=10**9)
    shard, index = tmp_path / "shard-00000.safetensors", tmp_path / "cache.json"
    if damage == "cut":
        shard.write_bytes(shard.read_bytes()[:-100])
    elif damage == "removed":
        shard.unlink()
    elif damage == "missing":
        index.unlink()
    else:
        index.write_text("[]" if damage == "index" else index.read_text().replace('"format": 1', '"format": 9'))
    with pytest.raises(DataError, match=str(tmp_path)):
        ClipCache(tmp_path).sample(0, 0, 0)


def test_keys__what_changed__is_named(tmp_path):
    """Catches a stale cache that is used, or refused without a reason."""
    KEYS.check(KEYS.config, KEYS.data, tmp_path)
    with pytest.raises(ConfigError, match=r"INPUT.FORMAT 'RGB', now 'BGR'"):
        KEYS.check({"INPUT.FORMAT": "'BGR'"}, KEYS.data, tmp_path)
    with pytest.raises(ConfigError, match="absent"):
        KEYS.check({}, KEYS.data, tmp_path)
    with pytest.raises(ConfigError, match="'1: b' changed"):
        KEYS.check(KEYS.config, {**KEYS.data, "1: b": "0"}, tmp_path)
    with pytest.raises(ConfigError, match="another segmenter"):
        check_weights(KEYS.weights, "0" * 64, str(tmp_path))


class Clips:
    """Samples of the list; ``[epoch, index]``."""

    def __init__(self, *clips):
        self.clips = clips

    def __len__(self):
        return len(self.clips)

    def __getitem__(self, key):
        return self.clips[key[1]]


def test_digests__any_difference__changes_them(tmp_path):
    """Catches annotations, pixels, names or shapes that do not count, and an absolute path that does."""
    annotations = tmp_path / "train.json"
    annotations.write_text("{}")
    digest = data_digest(Clips(clip(1), clip(2)), annotations)
    moved = {**clip(1), "file_names": ["elsewhere/1.jpg"]}
    assert data_digest(Clips(moved, clip(2)), annotations) == digest
    assert data_digest(Clips(clip(1), clip(3)), annotations) != digest
    assert data_digest(Clips(clip(1)), annotations) != digest
    annotations.write_text("{ }")
    assert data_digest(Clips(clip(1), clip(2)), annotations) != digest
    weights = {"a": torch.arange(4.0), "b": torch.zeros(2)}
    assert weights_digest(weights) == weights_digest(dict(reversed(weights.items())))
    assert weights_digest(weights) != weights_digest({**weights, "a": torch.arange(4.0).view(2, 2)})
    assert weights_digest(weights) != weights_digest({"a": torch.arange(4.0), "c": torch.zeros(2)})
