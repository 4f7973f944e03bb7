"""Reader of COCO instances files."""

import contextlib
import copy
import json
import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dense.data.formats.coco import ImageDataset, parse_coco, read_coco
from dense.data.formats.youtube_vis import AnnotationsMissingError
from dense.data.mappers.image_reading import read_image
from dense.errors import DataError

CASES = Path(__file__).parents[1] / "cases"
EXPECTED = json.loads((CASES / "images_expected.json").read_text(encoding="utf-8"))
READER = [name for name in EXPECTED if name.startswith("coco-") and not name.startswith("coco-eval")]
# Of two alternatives that a case allows, the one our reader takes.
REFUSED = {"coco-missing-annotation-id", "coco-string-ids", "coco-polygon-two-points"}
WARNED = {"coco-segmentation-null", "coco-box-degenerate"}

VALID = {
    "images": [{"id": 3, "width": 6, "height": 5, "file_name": "a.jpg"}],
    "annotations": [
        {
            "id": 8,
            "image_id": 3,
            "category_id": 20,
            "iscrowd": 0,
            "bbox": [0, 0, 4, 3],
            "segmentation": [[0, 0, 4, 0, 4, 3, 0, 3]],
        }
    ],
    "categories": [{"id": 20, "name": "cat"}, {"id": 7, "name": "ant"}],
}


def read_case(name: str, masks: bool = True) -> ImageDataset:
    images = CASES / name / "images"
    return read_coco(CASES / name / "annotations.json", images, masks=masks, check_files=images.is_dir())


def expectation(name: str) -> dict:
    expect = EXPECTED[name]["expect"]
    if expect["kind"] != "either":
        return expect
    wanted = "error" if name in REFUSED else "value"
    return next(a for a in expect["alternatives"] if a["kind"].startswith(wanted))


def changed(path: list[object], value: object) -> dict:
    """``VALID`` with one place set to ``value``."""
    data = copy.deepcopy(VALID)
    place: object = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return data


@pytest.mark.parametrize("name", [n for n in READER if expectation(n)["kind"] == "error"])
def test_read_coco__hard_case_with_error__one_line_naming_the_place(name):
    """Catches wrong files that pass silently, and messages without the record or the numbers."""
    with pytest.raises(DataError) as caught:
        read_case(name)
    message = str(caught.value)
    assert "\n" not in message
    assert "annotations.json" in message
    for words in expectation(name)["must_name"]:
        alternatives = words if isinstance(words, list) else [words]
        assert any(word in message.replace(name, "") for word in alternatives), (words, message)


@pytest.mark.parametrize("name", [n for n in READER if expectation(n)["kind"] == "value"])
def test_read_coco__hard_case_with_value__facts_hold(name):
    """Catches dropped or renumbered records, masks of another form misread, areas and crowd flags not filled in."""
    dataset = read_case(name)
    facts = expectation(name)["facts"]
    objects = [item for image in dataset.images for item in image.objects]
    found = {
        "num_images": len(dataset.images),
        "num_images_test": len(dataset.images),
        "num_annotations": len(objects),
        "contiguous": {str(k): v for k, v in dataset.contiguous_ids.items()},
        "areas": [item.area for item in objects],
        "names": list(dataset.category_names),
        "iscrowd": [int(item.iscrowd) for item in objects],
        "boxes": {str(item.id): list(item.box) for item in objects if str(item.id) in facts.get("boxes", {})},
        "sizes": {
            str(image.id): [image.width, image.height] for image in dataset.images if str(image.id) in facts.get("sizes", {})
        },
    }
    compared = [key for key in facts if key in found]
    assert compared
    assert {key: found[key] for key in compared} == {key: facts[key] for key in compared}


@pytest.mark.parametrize("name", sorted(WARNED))
def test_read_coco__useless_object__left_out_with_a_warning_that_names_it(name, caplog):
    """Catches objects without mask or without area reaching the loss (NaN), or disappearing without a word."""
    facts = expectation(name)["facts"]
    for masks, key in ((True, "num_annotations_mask_task"), (False, "num_annotations_box_task")):
        if key in facts:
            with caplog.at_level(logging.WARNING):
                dataset = read_case(name, masks=masks)
            assert sum(len(image.objects) for image in dataset.images) == facts[key]
    ids = caplog.text.split("ids", 1)[1]
    assert all(word in ids for word in expectation(name)["must_name"])


def test_read_coco__exif_orientation__picture_read_as_the_json_states():
    """Catches a reader that turns the picture but not the size, or neither."""
    dataset = read_case("coco-exif-upright")
    image = next(image for image in dataset.images if image.id == 11)
    pixels = read_image(dataset.image_path(image), (image.height, image.width)).astype(int)
    red = (pixels[..., 0] - pixels[..., 1]) > 100
    y, x = (axis.mean() for axis in np.nonzero(red))
    assert x > image.width / 2
    assert y < image.height / 2


def test_parse_coco__annotations_missing__images_without_objects():
    """Catches a crash on files of test images, and training on them without a word."""
    data = {key: value for key, value in VALID.items() if key != "annotations"}
    dataset = parse_coco(data)
    assert (len(dataset.images), dataset.has_annotations) == (1, False)


def test_read_coco__annotations_required_but_missing__says_so(tmp_path):
    """Catches a training set of images without objects."""
    path = tmp_path / "test.json"
    path.write_text(json.dumps({**VALID, "annotations": None}))
    with pytest.raises(AnnotationsMissingError, match=r"test\.json"):
        read_coco(path, require_annotations=True)


def test_parse_coco__no_bbox__that_of_the_mask():
    """Catches a reader that needs `bbox`."""
    data = copy.deepcopy(VALID)
    del data["annotations"][0]["bbox"]
    (item,) = parse_coco(data).images[0].objects
    assert (item.box, item.area) == ((0, 0, 4, 3), 12)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (["annotations", 0, "iscrowd"], 2, ["id 8", "iscrowd"]),
        (["annotations", 0, "area"], float("nan"), ["id 8", "area"]),
        (["annotations", 0, "bbox"], [1, 2, 3], ["id 8", "bbox"]),
        (["annotations", 0, "image_id"], 4, ["id 8", "image_id 4"]),
        (["annotations", 0, "segments_info"], [], ["panoptic"]),
        (["images", 0, "height"], 0, ["id 3", "height"]),
        (["images", 0, "file_name"], 7, ["id 3", "file_name"]),
        (["categories", 0, "name"], None, ["id 20", "name"]),
        (["categories", 0, "isthing"], 3, ["id 20", "isthing"]),
        (["images"], {}, ["images"]),
    ],
)
def test_parse_coco__wrong_field__error_names_record_and_field(path, value, words):
    """Catches a wrong value that is taken as it is, or ends as a foreign traceback."""
    with pytest.raises(DataError) as caught:
        parse_coco(changed(path, value))
    assert all(word in str(caught.value) for word in words)


@settings(max_examples=60, deadline=None)
@given(
    place=st.sampled_from(
        [["images"], ["annotations"], ["categories"], ["images", 0], ["annotations", 0]]
        + [["annotations", 0, field] for field in ("id", "image_id", "category_id", "bbox", "segmentation", "area", "iscrowd")]
        + [["images", 0, field] for field in ("id", "width", "height", "file_name")]
    ),
    value=st.recursive(
        st.none() | st.booleans() | st.integers(-3, 10**12) | st.floats() | st.text(max_size=4),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["size", "counts", "id"]), inner, max_size=3)
        ),
        max_leaves=6,
    ),
)
def test_parse_coco__any_junk_in_any_place__result_or_data_error(place, value):
    """Catches foreign exceptions on files from strangers."""
    with contextlib.suppress(DataError):
        parse_coco(changed(place, value))
