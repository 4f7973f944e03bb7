"""Readers of VIPSeg and VSPW: what they give, and what they refuse."""

import copy
import json

import numpy as np
import pytest
from PIL import Image

from dense.data.formats import Category, read_vipseg, read_vspw
from dense.data.formats.png_ids import write_id_map, write_label_map
from dense.data.formats.vipseg import parse_vipseg
from dense.data.formats.vspw import mask_labels
from dense.errors import DataError

IDS = np.array([[0, 7, 7], [300, 300, 70000]])
SEGMENTS = [
    {"id": 7, "category_id": 5, "iscrowd": 0, "area": 2},
    {"id": 300, "category_id": 2, "iscrowd": 1},
    {"id": 70000, "category_id": 5},
]
IMAGES = [{"id": f"{k:03d}", "width": 3, "height": 2, "file_name": f"{k:03d}.jpg"} for k in (2, 10)]
DATA = {
    "videos": [{"video_id": "b 1", "images": IMAGES}, {"video_id": 12, "images": IMAGES[:1]}],
    "annotations": [
        {"video_id": 12, "annotations": [{"image_id": "002", "file_name": "002.png", "segments_info": SEGMENTS}]},
        {
            "video_id": "b 1",
            "annotations": [
                {"image_id": "010", "file_name": "010.png", "segments_info": SEGMENTS[:1]},
                {"image_id": "002", "file_name": "002.png", "segments_info": SEGMENTS},
            ],
        },
    ],
    "categories": [{"id": 5, "name": "dog", "isthing": 1}, {"id": 2, "name": "grass", "isthing": 0}],
}


@pytest.fixture
def vipseg(tmp_path):
    """Path of an annotation file with its pictures and PNGs in the usual places."""
    for video, frames in (("b 1", ("002", "010")), ("12", ("002",))):
        for frame in frames:
            (tmp_path / "images" / video).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (3, 2)).save(tmp_path / "images" / video / f"{frame}.jpg")
            ids = np.where(IDS == 7, 7, 0) if frame == "010" else IDS
            write_id_map(tmp_path / "panomasksRGB" / video / f"{frame}.png", ids)
    (tmp_path / "panoptic.json").write_text(json.dumps(DATA))
    return tmp_path / "panoptic.json"


def test_read_vipseg__frames__are_paired_by_image_id(vipseg):
    """Catches frames paired by position, ids of videos that must be text, stuff taken for things."""
    dataset = read_vipseg(vipseg, check_files=True, require_annotations=True)
    first, second = dataset.videos
    assert (first.id, first.length, second.id) == ("b 1", 2, "12")
    assert [frame.png_name for frame in first.frames] == ["002.png", "010.png"]
    assert [len(frame.segments) for frame in first.frames] == [3, 1]
    assert [s.area for s in first.frames[0].segments] == [2.0, None, None]
    assert [s.iscrowd for s in first.frames[0].segments] == [False, True, False]
    assert np.array_equal(dataset.ids(first, 0), IDS)
    assert dataset.category_names == ("grass", "dog")
    assert dataset.things == {1}
    assert dataset.frame_path(first, 1) == vipseg.parent / "images/b 1/010.jpg"


def test_read_vipseg__no_annotations__videos_without_segments(vipseg):
    """Catches a crash on the challenge's test split."""
    dataset = parse_vipseg({**DATA, "annotations": None})
    assert not dataset.has_annotations
    assert [frame.segments for frame in dataset.videos[0].frames] == [(), ()]
    with pytest.raises(DataError, match="no annotations"):
        dataset.png_path(dataset.videos[0], 0)
    vipseg.write_text(json.dumps({**DATA, "annotations": None}))
    with pytest.raises(DataError, match="has no annotations"):
        read_vipseg(vipseg, require_annotations=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d["videos"][1].update(video_id="b 1"), ["videos[1]", "duplicate id b 1"]),
        (lambda d: d["videos"][0]["images"][1].update(id="002"), ["images[1]", "duplicate id 002"]),
        (lambda d: d["videos"][0]["images"][0].pop("height"), ["(video b 1).images[0] (image 002)", "height"]),
        (lambda d: d["videos"][0].update(images=[]), ["videos[0] (video b 1)", "image_id 002, which `images` does not list"]),
        (lambda d: d["annotations"][1]["annotations"].pop(), ["image 002", "no entry in `annotations`"]),
        (lambda d: d["annotations"][0]["annotations"][0].update(image_id="9"), ["video 12", "no entry"]),
        (lambda d: d["annotations"].append({"video_id": "x", "annotations": []}), ["video_id x", "not in `videos`"]),
        (lambda d: d["annotations"][0].update(annotations=5), ["annotations[0] (video 12)", "expected a list"]),
        (
            lambda d: d["annotations"][0]["annotations"][0]["segments_info"][0].update(category_id=9),
            ["annotations[0] (video 12).annotations[0] (image 002).segments_info[0] (id 7)", "category_id 9"],
        ),
    ],
)
def test_parse_vipseg__wrong_record__named(change, words):
    """Catches faults that end as a KeyError in training."""
    data = copy.deepcopy(DATA)
    change(data)
    with pytest.raises(DataError) as caught:
        parse_vipseg(data, "v.json")
    assert all(word in str(caught.value) for word in ["v.json", *words])


def test_read_vipseg__files_missing_or_different__named(vipseg):
    """Catches pictures and PNGs that are not looked at before training."""
    (vipseg.parent / "images/12/002.jpg").unlink()
    with pytest.raises(DataError, match=r"video 12: frame 0 is not on disk"):
        read_vipseg(vipseg, check_files=True)
    read_vipseg(vipseg)
    write_id_map(vipseg.parent / "panomasksRGB/b 1/010.png", IDS)
    with pytest.raises(DataError, match=r"010\.png.*300, 70000"):
        read_vipseg(vipseg, check_files=True)


@pytest.fixture
def vspw(tmp_path):
    """Folder with two videos."""
    for video, frames in (("v1", (2, 10, 1)), ("v2", (1,))):
        for k in frames:
            (tmp_path / "data" / video / "origin").mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (3, 2)).save(tmp_path / "data" / video / "origin" / f"{k}.jpg")
            write_label_map(tmp_path / "data" / video / "mask" / f"{k}.png", np.array([[0, 1, 124], [254, 255, k]]))
    (tmp_path / "train.txt").write_text("v2\n\nv1\n")
    return tmp_path


def test_mask_labels__values__as_published():
    """Catches labels shifted the other way, and one of the three unlabelled values taken for a class."""
    assert mask_labels(np.array([[0, 1, 2], [124, 254, 255]], np.uint8)).tolist() == [[255, 0, 1], [123, 255, 255]]


def test_read_vspw__two_videos__in_the_order_of_list_and_names(vspw):
    """Catches frames in the order 1, 10, 2, videos in the order of the folder, and lines that are empty."""
    dataset = read_vspw(vspw, check_files=True)
    assert [(video.id, [frame.name for frame in video.frames]) for video in dataset.videos] == [
        ("v2", ["1"]),
        ("v1", ["1", "2", "10"]),
    ]
    assert dataset.labels(dataset.videos[1].frames[2], (2, 3)).tolist() == [[255, 0, 123], [255, 255, 9]]
    assert len(dataset.categories) == 124
    assert dataset.has_annotations
    with pytest.raises(DataError, match="expected 3x2"):
        dataset.labels(dataset.videos[1].frames[2], (3, 2))


def test_read_vspw__own_categories__labels_beyond_them_are_refused(vspw):
    """Catches a label out of range that ends as a device-side assert."""
    dataset = read_vspw(vspw, categories=[Category(k, str(k)) for k in range(20)])
    with pytest.raises(DataError, match=r"1\.png.*has label 123, expected 0 to 19"):
        dataset.labels(dataset.videos[0].frames[0])
    with pytest.raises(DataError, match=r"expected 0, 1, 2"):
        read_vspw(vspw, categories=[Category(1, "a")])


def test_read_vspw__split_without_masks__has_no_annotations(vspw):
    """Catches a crash on the challenge's test split."""
    (vspw / "data/v2/mask/1.png").unlink()
    (vspw / "test.txt").write_text("v2")
    dataset = read_vspw(vspw, "test", check_files=True)
    assert not dataset.has_annotations
    with pytest.raises(DataError, match="without annotations"):
        dataset.labels(dataset.videos[0].frames[0])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda root: (root / "train.txt").unlink(), ["train.txt", "list of videos"]),
        (lambda root: (root / "train.txt").write_text("\n"), ["train.txt", "lists no video"]),
        (lambda root: (root / "train.txt").write_text("v1\nv1\n"), ["train.txt: line 2", "duplicate"]),
        (lambda root: (root / "train.txt").write_text("v3\n"), ["v3", "no picture"]),
        (lambda root: (root / "data/v1/mask/10.png").unlink(), ["10.jpg", "no label map"]),
        (lambda root: (root / "data/v1/origin/10.jpg").unlink(), ["10.png", "no picture"]),
    ],
)
def test_read_vspw__files_missing__named(vspw, damage, words):
    """Catches halves of a pair that are dropped without a word."""
    damage(vspw)
    with pytest.raises(DataError) as caught:
        read_vspw(vspw)
    assert all(word in str(caught.value) for word in words)
