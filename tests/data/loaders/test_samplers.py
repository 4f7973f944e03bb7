"""Samplers: the order as a function of (seed, step, rank, ranks)."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dense.data.loaders import CombinedSampler, ResumableSampler, shard
from dense.data.loaders.seeding import Stream, generator
from dense.errors import ConfigError, DataError


def take(sampler, count):
    return list(islice(iter(sampler), count))


@given(st.integers(1, 23), st.integers(1, 7), st.integers(0, 2**40))
def test_resumable_sampler__each_epoch__visits_every_sample_once(length, batch_size, seed):
    """Samples that are left out or repeated at the end of an epoch."""
    sampler = ResumableSampler(length, batch_size, seed)
    keys = [key for step in range(3 * length) for key in sampler.batch(step)]
    for epoch in range(3):
        part = keys[epoch * length : (epoch + 1) * length]
        assert {e for _, e, _ in part} == {epoch}
        assert sorted(index for *_, index in part) == list(range(length))


@given(st.integers(1, 23), st.integers(1, 4), st.integers(1, 4), st.integers(0, 50), st.integers(0, 9))
def test_resumable_sampler__several_ranks__partition_the_batch_of_one(length, share, ranks, step, seed):
    """Ranks that see the same samples, or others than a single process would."""
    whole = ResumableSampler(length, share * ranks, seed).batch(step)
    parts = [ResumableSampler(length, share * ranks, seed, rank, ranks).batch(step) for rank in range(ranks)]
    assert [key for part in parts for key in part] == whole


def test_resumable_sampler__seeds_and_epochs__give_other_orders():
    """The same order every epoch, or a seed without effect."""
    orders = {tuple(i for *_, i in ResumableSampler(20, 20, seed).batch(epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


@pytest.mark.parametrize("start", [0, 1, 7, 1023, 1024, 2500])
def test_combined_sampler__start_at_any_step__continues_the_stream(start):
    """A resumed run that repeats or skips batches of one of the data sets."""
    samplers = [ResumableSampler(5, 2, 3, source=0), ResumableSampler(9, 2, 3, source=1)]
    whole = take(CombinedSampler(samplers, [1, 2], 3), 2510)
    assert take(CombinedSampler(samplers, [1, 2], 3, start), 2510 - start) == whole[start:]


def test_combined_sampler__ratios__are_frequencies_of_whole_batches():
    """Batches that mix data sets, or frequencies that do not follow the ratios."""
    samplers = [ResumableSampler(50, 2, 0, source=source) for source in range(3)]
    batches = take(CombinedSampler(samplers, [1, 2, 5], 0), 4000)
    assert all(len({source for source, *_ in batch}) == 1 for batch in batches)
    counts = np.bincount([batch[0][0] for batch in batches])
    np.testing.assert_allclose(counts / 4000, [0.125, 0.25, 0.625], atol=0.03)
    for source in range(3):
        own = [key for batch in batches if batch[0][0] == source for key in batch]
        assert sorted(own[:50]) == [(source, 0, index) for index in range(50)]


def test_combined_sampler__two_ranks__draw_the_same_data_set():
    """Ranks that train on different data sets in one step."""

    def stream(rank):
        return CombinedSampler([ResumableSampler(5, 2, 1, rank, 2, source) for source in range(2)], [1, 1], 1)

    assert [b[0][0] for b in take(stream(0), 50)] == [b[0][0] for b in take(stream(1), 50)]


def test_samplers__wrong_arguments__say_which_key():
    """Configurations that cannot work, reported by a foreign error or not at all."""
    with pytest.raises(ConfigError, match=r"IMS_PER_BATCH: 3 cannot be shared by 2"):
        ResumableSampler(5, 3, 0, 0, 2)
    with pytest.raises(DataError, match="no usable sample"):
        ResumableSampler(0, 2, 0)
    with pytest.raises(ConfigError, match="DATASET_RATIO"):
        CombinedSampler([ResumableSampler(5, 2, 0)], [1, 1], 0)
    with pytest.raises(ConfigError, match="rank 2 of 2"):
        ResumableSampler(5, 2, 0, 2, 2)


@given(st.integers(0, 40), st.integers(1, 9))
def test_shard__all_ranks__cover_in_order_and_evenly(length, ranks):
    """Videos tested twice or never."""
    parts = [shard(length, rank, ranks) for rank in range(ranks)]
    assert [index for part in parts for index in part] == list(range(length))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_generator__keys_that_numpy_pads_alike__are_different():
    """Order of epoch 3 and sample (3, 0) drawn from one stream."""
    drawn = {
        generator(Stream.ORDER, 1, 3).integers(2**60),
        generator(Stream.ORDER, 1, 3, 0).integers(2**60),
        generator(Stream.SAMPLE, 1, 3).integers(2**60),
        generator(Stream.SAMPLE, 1, 3, 0).integers(2**60),
        generator(Stream.SAMPLE, 0, 1, 3).integers(2**60),
    }
    assert len(drawn) == 5
