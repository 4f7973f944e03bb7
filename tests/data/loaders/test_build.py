"""Loaders: equal batches for any number of workers and after any restart; clean errors; test shards."""

import os
import resource
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from dense.data.datasets import resolve_dataset
from dense.data.loaders import (
    VideoClipDataset,
    VideoTestDataset,
    build_combined_train_loader,
    build_test_loader,
    build_train_loader,
    drop_unannotated,
)
from dense.data.mappers import FrameSampler, VideoInstanceMapper, VideoTestMapper
from dense.data.transforms import ClipChance, ClipColour, ClipCrop, ClipFlip, ClipPipeline, ResizeShortestEdge
from dense.errors import DataError

AUGMENTATION = ClipPipeline(
    (
        ClipChance((ClipCrop("absolute_range", (6, 10)),)),
        ResizeShortestEdge((10, 12, 16), 64, "choice_by_clip"),
        ClipFlip(),
        ClipColour("contrast", (0.5, 1.5)),
    )
)


@pytest.fixture
def clips(dataset_name):
    dataset = resolve_dataset(dataset_name).read()
    mapper = VideoInstanceMapper(dataset.image_root, dataset.contiguous_ids, FrameSampler(3, 2), AUGMENTATION)
    return VideoClipDataset(dataset.videos, mapper, 5)


def values(batch):
    """Everything in a batch as plain comparable values."""
    return [
        (
            clip["video_id"],
            clip["frame_idx"],
            [(tuple(i.shape), i.numpy().tobytes()) for i in clip["image"]],
            [(f.labels.tolist(), f.ids.tolist(), tuple(f.masks.shape), f.masks.numpy().tobytes()) for f in clip["instances"]],
        )
        for clip in batch
    ]


def take(count, *args, **kwargs):
    loader = build_train_loader(*args, **kwargs)
    batches = [values(batch) for batch in islice(loader, count)]
    loader.close()
    return batches


def test_build_train_loader__any_number_of_workers_and_any_start__same_batches(clips):
    """Exact resume: numbers that depend on workers, on what ran before, or on global generators."""
    expected = take(9, clips, 2, seed=5)
    assert len({str(batch) for batch in expected}) == 9
    for workers in (1, 2):
        torch.manual_seed(workers)
        np.random.seed(workers)  # noqa: NPY002 (global state must have no effect)
        assert take(9, clips, 2, seed=5, num_workers=workers) == expected
    assert take(5, clips, 2, seed=5, start_step=4) == expected[4:]
    assert take(5, clips, 2, seed=5, start_step=4, num_workers=2) == expected[4:]
    assert take(3, clips, 2, seed=6) != expected[:3]


def test_build_train_loader__two_ranks__partition_the_batch_of_one(clips):
    """Ranks that train on the same clips."""
    whole = take(4, clips, 4, seed=5)
    parts = [take(4, clips, 4, seed=5, rank=rank, world_size=2) for rank in range(2)]
    assert [first + second for first, second in zip(*parts, strict=True)] == whole


def test_build_train_loader__same_video_in_two_epochs__is_augmented_anew(clips):
    """Augmentations that repeat every epoch."""
    assert values([clips[0, 1]]) == values([clips[0, 1]])
    assert values([clips[0, 1]]) != values([clips[1, 1]])


def test_build_combined_train_loader__two_sets__restart_gives_the_same_batches(clips):
    """A mixture of data sets that a restart changes."""

    def run(start, count):
        loader = build_combined_train_loader([clips, clips], [1.0, 2.0], 2, seed=5, start_step=start)
        return [values(batch) for batch in islice(loader, count)]

    assert run(6, 3) == run(0, 9)[6:]


def test_train_loader__step__counts_the_batches(clips):
    """A step that is off by one after a restart."""
    loader = build_train_loader(clips, 2, seed=5, start_step=3)
    assert loader.step == 3
    next(loader)
    assert loader.step == 4
    assert iter(loader) is loader
    loader.close()
    with pytest.raises(StopIteration):
        next(loader)


@pytest.mark.parametrize("workers", [0, 1])
def test_train_loader__broken_image__error_of_one_line_names_it(clips, workers):
    """A worker's traceback instead of the one line that a user can act on."""
    root = Path(clips.mapper.image_root)
    for path in root.glob("*/*.png"):
        path.write_bytes(b"x")
    loader = build_train_loader(clips, 2, seed=5, num_workers=workers)
    with pytest.raises(DataError, match=r"\.png: cannot be read") as caught:
        next(loader)
    loader.close()
    assert "\n" not in str(caught.value)


def test_train_loader__global_generators__are_not_advanced(clips):
    """A loader that changes the model's random numbers (dropout, say) by being there."""
    torch.manual_seed(0)
    state = torch.get_rng_state()
    take(2, clips, 2, seed=5, num_workers=1)
    assert torch.equal(torch.get_rng_state(), state)


def test_train_loader__many_batches_kept__few_descriptors_are_open(clips):
    """One file descriptor per tensor: "too many open files" with real clips."""
    folder = "/proc/self/fd"
    if not Path(folder).is_dir():
        pytest.skip("needs /proc")
    before = len(os.listdir(folder))  # noqa: PTH208
    loader = build_train_loader(clips, 4, seed=5, num_workers=1)
    kept = list(islice(loader, 8))
    assert len(os.listdir(folder)) - before < 40  # noqa: PTH208
    assert sum(len(clip["image"]) for batch in kept for clip in batch) == 96
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 40
    loader.close()


def test_drop_unannotated__only_a_crowd_or_nothing_visible__is_dropped(clips):
    """Training on videos without an object, or losing videos that have one."""
    assert [video.id for video in clips.videos] == [1, 2, 3, 4, 5]
    assert [video.id for video in drop_unannotated(clips.videos)] == [1, 2, 4, 5]


def test_build_test_loader__two_ranks__each_video_once_in_order(clips):
    """Videos tested twice, never, or in batches."""
    dataset = VideoTestDataset(clips.videos, VideoTestMapper(clips.mapper.image_root, 6, 1333))
    parts = [list(build_test_loader(dataset, rank, 2)) for rank in range(2)]
    assert [[clip["video_id"] for (clip,) in part] for part in parts] == [[1, 2, 3], [4, 5]]
    assert parts[1][0][0]["image"][0].shape == (3, 6, 10)
