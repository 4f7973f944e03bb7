"""Annotation files that want a lot: nesting, numbers, sizes, run lengths, outlines; and text that cannot be printed."""

import copy
import json

import numpy as np
import pytest

from dense.data.formats import read_coco, read_detections, read_panoptic, read_youtube_vis
from dense.errors import DataError
from dense.io import read_json
from dense.structures import rle

IMAGES = {
    "images": [{"id": 1, "width": 8, "height": 6, "file_name": "1.png"}],
    "categories": [{"id": 1, "name": "cat"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": {"size": [6, 8], "counts": [10, 3, 35]}}],
}
VIDEOS = {
    "videos": [{"id": 1, "width": 8, "height": 6, "file_names": ["1.png"]}],
    "categories": IMAGES["categories"],
    "annotations": [{"id": 1, "video_id": 1, "category_id": 1, "segmentations": [{"size": [6, 8], "counts": [10, 3, 35]}]}],
}


def _changed(tree, path, value):
    tree = copy.deepcopy(tree)
    node = tree
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return tree


@pytest.mark.parametrize("text", ["[" * 10**6, '{"a":' * 10**5 + "1" + "}" * 10**5, "9" * 10**6, "[1e5", '"\\ud800', "-" * 9])
def test_read_json__too_deep_or_too_long_numbers__one_error(tmp_path, frugal, text):
    """Catches recursion without end and numbers whose conversion takes quadratic time."""
    (tmp_path / "x.json").write_text(text, encoding="utf-8")
    with frugal(200), pytest.raises(DataError, match=r"x\.json"):
        read_json(tmp_path / "x.json")


SEGMENTATION = ("annotations", 0, "segmentation")
WRONG_IMAGES = [
    (("images", 0, "id"), 2**63),
    (("images", 0, "id"), 1e300),
    (("images", 0, "width"), 10**8),
    (("images", 0, "width"), 10**4000),
    (("images", 0, "height"), -6),
    (("images", 0, "file_name"), "a\nb"),
    (("images", 0, "file_name"), "\ud800"),
    (("images", 0, "file_name"), "x" * 5000),
    (("categories", 0, "name"), "\x00"),
    (("categories", 0, "isthing"), [[[[1]]]]),
    (("annotations", 0, "area"), -1),
    (("annotations", 0, "area"), 10**400),
    (("annotations", 0, "id"), "x" * 10**6),
    (SEGMENTATION, {"size": [6, 8], "counts": [10**4000, 1]}),
    (SEGMENTATION, {"size": [6, 8], "counts": [-5, 53]}),
    (SEGMENTATION, {"size": [-6, -8], "counts": [48]}),
    (SEGMENTATION, {"size": [6, 8], "counts": "\ud800"}),
    (SEGMENTATION, {"size": [6, 8], "counts": "ooooooooooooo0"}),
    (SEGMENTATION, {"size": "x" * 10**6, "counts": "0"}),
    (SEGMENTATION, [[0, 0, 1e300, 0, 1, 1]]),
    (SEGMENTATION, [[0, 0, 60, 60] * 20_000]),
]


@pytest.mark.parametrize("number", range(len(WRONG_IMAGES)))
def test_read_coco__hostile_value__one_short_error(tmp_path, frugal, number):
    """Catches UnicodeEncodeError of lone surrogates, ValueError of integers that Python does not print, memory for outlines."""
    path, value = WRONG_IMAGES[number]
    (tmp_path / "x.json").write_text(json.dumps(_changed(IMAGES, path, value)), encoding="utf-8")
    with frugal(100), pytest.raises(DataError, match=r"x\.json") as caught:
        read_coco(tmp_path / "x.json")
    assert len(str(caught.value)) < 1000
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("videos", 0, "width"), 10**8),
        (("videos", 0, "file_names"), ["a\nb"]),
        (("videos", 0, "file_names"), ["\ud800"]),
        (("annotations", 0, "areas"), [-3]),
        (("annotations", 0, "segmentations"), [{"size": [6, 8], "counts": "\ud800"}]),
        (("annotations", 0, "iscrowd"), {"a": 1}),
    ],
)
def test_read_youtube_vis__hostile_value__one_short_error(tmp_path, frugal, path, value):
    """As for images."""
    (tmp_path / "x.json").write_text(json.dumps(_changed(VIDEOS, path, value)), encoding="utf-8")
    with frugal(100), pytest.raises(DataError, match=r"x\.json") as caught:
        read_youtube_vis(tmp_path / "x.json")
    assert len(str(caught.value)) < 1000


def test_read_panoptic__declared_size__limited(tmp_path):
    """Catches a second reader of `images` without the limit."""
    tree = {**IMAGES, "annotations": [], "images": [{"id": 1, "width": 10**5, "height": 10**5, "file_name": "1.png"}]}
    (tmp_path / "x.json").write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(DataError, match="DENSE_MAX_MEGAPIXELS"):
        read_panoptic(tmp_path / "x.json")


def test_read_coco__large_image__limit_can_be_raised(tmp_path, monkeypatch):
    """Catches a limit that stands in a user's way for good."""
    tree = _changed({**IMAGES, "annotations": []}, ("images", 0, "width"), 10**8)
    (tmp_path / "x.json").write_text(json.dumps(tree), encoding="utf-8")
    monkeypatch.setenv("DENSE_MAX_MEGAPIXELS", "601")
    assert read_coco(tmp_path / "x.json").images[0].width == 10**8


def test_read_detections__negative_box__error(tmp_path):
    """Catches an overlap computed from an area below zero."""
    (tmp_path / "gt.json").write_text(json.dumps(IMAGES), encoding="utf-8")
    entry = {"image_id": 1, "category_id": 1, "score": 0.5, "bbox": [1, 1, -3, 3]}
    (tmp_path / "x.json").write_text(json.dumps([entry]), encoding="utf-8")
    with pytest.raises(DataError, match=r"x\.json: results\[0\].*bbox"):
        read_detections(tmp_path / "x.json", read_coco(tmp_path / "gt.json"))


@pytest.mark.parametrize("mask", [{"size": [10**5, 10**5], "counts": [10**10]}, {"size": [10**6, 10**6], "counts": "0"}])
@pytest.mark.parametrize("call", [rle.decode, rle.area, rle.bounding_box])
def test_rle__huge_size__refused(frugal, call, mask):
    """Catches 10 GB for a mask of 40 characters."""
    with frugal(50), pytest.raises(DataError, match="megapixels"):
        call(mask)


def test_to_rle__long_but_real_outline__is_drawn():
    """Catches a limit on outlines below what people annotate: a comb of 1,000 teeth through a large picture."""
    teeth = [(x, y) for k in range(0, 2000, 2) for x, y in ((k, 0), (k, 900), (k + 1, 900), (k + 1, 0))]
    mask = rle.to_rle([np.array(teeth, float).ravel().tolist()], 1000, 2000)
    assert rle.area(mask) > 0
