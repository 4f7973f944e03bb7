"""The video mappers: fixed slots, masks that follow their image, ids of what can be seen, lazy test videos."""

import dataclasses

import numpy as np
import pytest
import torch

from dense.data.mappers import FrameSampler, LazyFrames, VideoInstanceMapper, VideoTestMapper
from dense.data.transforms import ClipCrop, ClipFlip, ClipPipeline, ClipRotation, ResizeShortestEdge
from dense.errors import DataError

CLASSES = {3: 0, 7: 1}
KEYS = {"image", "instances", "height", "width", "file_names", "frame_idx", "video_id", "video_len", "length"}


def make_mapper(root, *augmentations, frames=8, reach=9):
    return VideoInstanceMapper(root, CLASSES, FrameSampler(frames, reach), ClipPipeline(augmentations))


def test_video_instance_mapper__whole_video__keeps_slots_and_marks_the_missing(video, tmp_path):
    """Slots that move between frames, crowds as objects, wrong class or id of a hidden object."""
    clip = make_mapper(tmp_path)(video, np.random.default_rng(0))
    assert set(clip) == KEYS
    assert clip["frame_idx"] == list(range(8))
    assert (clip["height"], clip["width"], clip["video_id"], clip["video_len"], clip["length"]) == (48, 80, 4, 8, 8)
    assert clip["file_names"][3] == str(tmp_path / "v/00003.png")
    for t, (image, targets) in enumerate(zip(clip["image"], clip["instances"], strict=True)):
        assert image.dtype == torch.uint8
        assert targets.labels.tolist() == [1, 0 if t > 3 else -1]
        assert targets.ids.tolist() == [0, 1 if t > 3 else -1]
        assert targets.masks.dtype == torch.bool
        assert targets.image_size == (48, 80)
        assert torch.equal(targets.masks[0], image[0] > 127)
        assert torch.equal(targets.masks[1], (image[1] > 127) & (t > 3))


def test_video_instance_mapper__object_in_no_chosen_frame__has_no_slot(video, tmp_path):
    """Slots for objects that the clip does not show."""
    seen = set()
    for seed in range(30):
        clip = make_mapper(tmp_path, frames=3, reach=1)(video, np.random.default_rng(seed))
        late = max(clip["frame_idx"]) > 3
        seen.add(late)
        assert {len(targets) for targets in clip["instances"]} == {2 if late else 1}
    assert seen == {True, False}


def test_video_instance_mapper__augmented__masks_follow_the_image(video, tmp_path):
    """Transforms of one frame applied to the masks of another, or in another order."""
    augmentations = (ResizeShortestEdge((60, 90), 400, "choice"), ClipFlip(by_clip=False), ClipRotation(by_clip=False))
    for seed in range(5):
        clip = make_mapper(tmp_path, *augmentations)(video, np.random.default_rng(seed))
        assert len({image.shape for image in clip["image"]}) == 2
        for image, targets in zip(clip["image"], clip["instances"], strict=True):
            assert image.shape[1:] == targets.masks.shape[1:]
            wrong = (image[0] > 127) ^ targets.masks[0]
            assert wrong.sum() < 0.1 * targets.masks[0].sum()


def test_video_instance_mapper__object_cropped_away__keeps_class_and_loses_id(video, tmp_path):
    """Targets without a pixel: the id must say that there is nothing to see."""
    lost = 0
    for seed in range(10):
        clip = make_mapper(tmp_path, ClipCrop("absolute", (16, 24)))(video, np.random.default_rng(seed))
        for targets in clip["instances"]:
            visible = targets.masks.flatten(1).any(1)
            assert torch.equal(targets.ids, torch.where(visible, torch.arange(2), -1))
            lost += int(((targets.labels >= 0) & (targets.ids < 0)).sum())
        assert all(targets.labels[0] == 1 for targets in clip["instances"])
    assert lost > 0


def test_video_instance_mapper__short_video__repeats_frames(video, tmp_path):
    """A crash or a wrong count when the clip is longer than the video."""
    short = dataclasses.replace(
        video,
        file_names=video.file_names[:1],
        tracks=tuple(dataclasses.replace(t, segmentations=t.segmentations[:1], areas=t.areas[:1]) for t in video.tracks),
    )
    clip = make_mapper(tmp_path, frames=5, reach=2)(short, np.random.default_rng(0))
    assert clip["frame_idx"] == [0] * 5
    assert all(torch.equal(image, clip["image"][0]) for image in clip["image"])
    assert [targets.ids.tolist() for targets in clip["instances"]] == [[0]] * 5


def test_video_instance_mapper__no_objects__gives_empty_targets(video, tmp_path):
    """A crash on clips in which nothing is annotated."""
    clip = make_mapper(tmp_path, ResizeShortestEdge((24,)), ClipFlip(1.0), ClipRotation())(
        dataclasses.replace(video, tracks=()), np.random.default_rng(0)
    )
    assert [tuple(targets.masks.shape) for targets in clip["instances"]] == [(0, 24, 40)] * 8
    assert clip["instances"][0].labels.shape == clip["instances"][0].ids.shape == (0,)


def test_video_instance_mapper__only_sampled_frames__are_decoded(video, tmp_path):
    """Masks or images decoded for frames that are not in the clip: here they cannot be."""
    tracks = tuple(dataclasses.replace(t, segmentations=(*t.segmentations[:3], *["not a mask"] * 5)) for t in video.tracks)
    broken = dataclasses.replace(video, tracks=tracks, file_names=(*video.file_names[:3], *["nowhere.png"] * 5))
    early = [make_mapper(tmp_path, frames=3, reach=1)] * 60
    clips = 0
    for seed, mapper in enumerate(early):
        if max(mapper.sampler(8, np.random.default_rng(seed))) < 3:
            mapper(broken, np.random.default_rng(seed))
            clips += 1
    assert clips > 0


def test_video_instance_mapper__broken_or_unknown__data_error_names_the_place(video, tmp_path):
    """An error that does not say which file or annotation to mend."""
    (tmp_path / video.file_names[5]).write_bytes(b"x")
    with pytest.raises(DataError, match=r"00005\.png"):
        make_mapper(tmp_path)(video, np.random.default_rng(0))
    with pytest.raises(DataError, match=r"video 4: annotation 10 has category 7"):
        VideoInstanceMapper(tmp_path, {3: 0}, FrameSampler(3, 1), ClipPipeline(()))(video, np.random.default_rng(1))


def test_video_test_mapper__any_video__is_lazy_and_resized(video, tmp_path):
    """A long video decoded at once, or frames in the wrong order or size."""
    (tmp_path / video.file_names[5]).write_bytes(b"x")
    clip = VideoTestMapper(tmp_path, 24, 1333)(video)
    assert set(clip) == KEYS - {"instances"}
    frames = clip["image"]
    assert isinstance(frames, LazyFrames)
    assert (len(frames), frames.image_size) == (8, (24, 40))
    assert frames[0].shape == (3, 24, 40)
    assert torch.equal(frames[2:4][1], frames[3])
    assert torch.equal(frames[-1], frames[7])
    assert [f.shape for f in frames[:5]] == [(3, 24, 40)] * 5
    with pytest.raises(DataError, match=r"00005\.png"):
        list(frames)
    with pytest.raises(IndexError):
        frames[8]


def test_video_test_mapper__size_zero__keeps_the_pixels(video, tmp_path):
    """A division by zero, or resampling where none is asked for."""
    frame = VideoTestMapper(tmp_path, 0, 1333, bgr=True)(video)["image"][1]
    assert frame.shape == (3, 48, 80)
    assert set(frame.unique().tolist()) == {0, 255}
    assert frame[2].any()
    assert not frame[0].any()
